"""The language of losses: formulas, their analysis, the torch programs and modules that compute them, known losses."""
