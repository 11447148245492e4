"""Scripts that print measured figures as JSON."""
