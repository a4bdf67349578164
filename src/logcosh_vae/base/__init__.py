"""Shared by all packages above losses, models and metrics: files, errors, settings, devices, versions, environment."""
