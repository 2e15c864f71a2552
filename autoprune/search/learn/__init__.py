"""What is learned before the first trial: dense model, calibration, latency, widths."""
