"""Experiments: rows to train and measure over several seeds, the scheduler that runs them, and their results."""
