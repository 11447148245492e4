"""The ``lossearch`` command: the only user of typer and rich."""
