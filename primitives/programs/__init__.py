"""Formulas compiled to torch calls, and the derivatives of those calls."""
