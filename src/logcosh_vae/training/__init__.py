"""Training: configuration, objective, optimizers, training loop, run folders and data-parallel training."""
