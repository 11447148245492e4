"""Runs: declarations, directories and sessions, which searches and studies share."""
