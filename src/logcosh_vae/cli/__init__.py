"""The command line: verbs that parse, call and print. Torch is imported inside them, so that help comes at once."""

from .main import main

__all__ = ["main"]
