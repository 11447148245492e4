"""Studies: questions to ask after a search, or without one."""
