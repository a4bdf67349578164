"""Training: objective, loop, optimizers, run folders, configuration, and one run over several processes."""
