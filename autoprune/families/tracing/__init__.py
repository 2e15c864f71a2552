"""Channel groups of any model, found by following every channel through its own forward pass."""
