"""The search: the only importer of optuna and the only composer of the other verbs."""
