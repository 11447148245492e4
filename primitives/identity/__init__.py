"""When two formulas are the same loss: canonical forms, fingerprints, and kinship with known losses."""
