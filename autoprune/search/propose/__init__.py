"""From what is known to plans: solver, proposals, samplers, objectives. No torch."""
