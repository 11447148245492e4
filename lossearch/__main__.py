"""``python -m lossearch``: the ``lossearch`` command."""

from lossearch.cli import main

if __name__ == "__main__":
    main()
