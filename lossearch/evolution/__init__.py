"""Evolution: how formulas are born, varied and selected."""
