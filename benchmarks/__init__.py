"""Scripts that make the published numbers; never part of the tests or of the wheel."""
