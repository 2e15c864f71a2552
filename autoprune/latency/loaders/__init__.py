"""Programs that are sent to a target: how a runtime there loads and times a model."""
