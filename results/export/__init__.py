"""Exported files: a loss as a Python file or a graph, with its model card."""
