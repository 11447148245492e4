"""Declared experiments: data, one TOML file each."""
