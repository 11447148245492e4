"""Data sets as inputs and class indices: read, divided into parts and decoded once."""
