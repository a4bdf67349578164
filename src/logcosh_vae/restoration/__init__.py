"""Restoring pictures with a network that learnt from corrupted pictures only (paper, Appendix D)."""
