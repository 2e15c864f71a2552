"""Faults injected for real, as often as the table in docs/faults.md says; see `__main__`."""
