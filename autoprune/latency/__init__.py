"""Latency: export a model, time it in a clean process, compare it with the dense one."""
