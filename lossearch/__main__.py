"""``python -m lossearch``: the ``lossearch`` command."""

from lossearch.cli.app import main

if __name__ == "__main__":
    main()
