"""Statistics of paired trainings."""
