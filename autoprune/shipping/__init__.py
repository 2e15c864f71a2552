"""From a plan to the bundle that ships: weights, fine-tune, export, checks, card."""
