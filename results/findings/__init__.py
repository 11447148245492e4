"""What was found about losses after their trainings: comparisons, verdicts, curves, explanations, tuned settings."""
