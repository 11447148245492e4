"""Completions for a shell: names of shipped experiments and comparisons, and files. It imports nothing heavy."""

import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

#: Completions of a word, with a remark about each.
Completions = Iterator[tuple[str, str]]


def searches(incomplete: str) -> Completions:
    """Complete the name of a shipped experiment or of a TOML file."""
    yield from _complete_shipped("task", incomplete)
    yield from _complete_files(incomplete)


def comparisons(incomplete: str) -> Completions:
    """Complete the name of a shipped comparison, of a TOML file, or of a directory, which may be a search's."""
    yield from _complete_shipped("tasks", incomplete)
    yield from _complete_files(incomplete)


def _complete_shipped(key: str, incomplete: str) -> Completions:
    for entry in sorted(resources.files("lossearch.experiments").iterdir(), key=lambda entry: entry.name):
        name = entry.name.removesuffix(".toml")
        if name != entry.name and name.startswith(incomplete):
            declared = tomllib.loads(entry.read_text(encoding="utf-8"))
            if key in declared:
                yield name, "shipped"


def _complete_files(incomplete: str) -> Completions:
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        text = str(path) if not incomplete.startswith("./") else f"./{path}"
        if text.startswith(incomplete) and not path.name.startswith("."):
            if path.is_dir():
                yield f"{text}/", ""
            elif path.suffix == ".toml":
                yield text, ""
