"""One candidate's way: untrained, measured, trained; trials, baselines, reuse."""
