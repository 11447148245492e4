"""Formulas as torch modules, with the calling convention of torch's own losses."""
