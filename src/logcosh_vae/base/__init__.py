"""What every package above the mathematics shares: files, errors, settings, devices, versions, the environment."""
