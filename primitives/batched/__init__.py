"""The gradients of many formulas computed together in few torch calls."""
