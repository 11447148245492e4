"""What can be read off the tree of a formula: its dependence on the target, its terms, its scores."""
