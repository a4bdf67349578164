"""Experiments: configurations trained and evaluated over several seeds, their scheduler, and their typed results."""
