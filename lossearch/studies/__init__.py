"""Studies: what is asked after a search, or without one."""
