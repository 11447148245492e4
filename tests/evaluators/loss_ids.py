"""Ids of losses in tests."""

import re


def loss_id(text):
    """Make an id of a formula's text, in the form that records demand."""
    return re.sub(r"\W", "_", text)
