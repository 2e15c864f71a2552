"""Evidence that the search beats its rivals: `python -m benchmarks.search_quality --help`."""
