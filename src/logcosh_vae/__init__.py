"""The log-cosh reconstruction loss, and the variational auto-encoders it improves."""
