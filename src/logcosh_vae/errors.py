"""Errors that a user sees as one line."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """Training cannot go on; the message says where it stood and what to change."""
