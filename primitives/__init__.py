"""The language of losses: operators, terminals, formulas, their algebra, and their torch modules."""
