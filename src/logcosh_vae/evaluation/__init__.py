"""Evaluation of trained models: metrics and pictures of a run, feature extractors of the FID and their training."""
