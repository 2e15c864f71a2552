"""The only door to Ultralytics' training, validation and checkpoints."""
