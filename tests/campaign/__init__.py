"""Users' files as they come: data sets and checkpoints of every kind, each command over them."""
