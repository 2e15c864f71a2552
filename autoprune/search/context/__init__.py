"""What a search is given: the loaded model, data, target and settings, and who listens."""
