"""The language of losses: its operators and terminals, formulas as trees, and their text."""
