"""Measure trained networks: every measure on a split, and a closer look at one training."""
