"""Analysis of a formula by its tree: its dependence on the target, its scores, its terms."""
