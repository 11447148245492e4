"""Reject losses that cannot train, before any training, with a reason."""
