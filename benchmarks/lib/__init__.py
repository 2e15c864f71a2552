"""What the scripts share: provenance of a result, Markdown tables, the generated page."""
