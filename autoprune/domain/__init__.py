"""Nouns: what is asked, planned, measured and decided; frozen, free of torch and optuna."""
