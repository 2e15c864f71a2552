"""Structured channel pruning, torch only: groups, importance, selection, surgery, size."""
