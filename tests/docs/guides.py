"""Code blocks of README.md and docs/, and the commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """A block of code, and the line above it."""

    kind: str  #: python, toml or empty
    text: str
    above: str


def blocks(page):
    """Return the blocks of a page, in order."""
    matches = re.finditer(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [Block(match[1], match[2], match.string[: match.start()].rstrip().rpartition("\n")[2]) for match in matches]


def commands(text):
    """Return the lines of a block that call lossearch, as words, without comments."""
    return [shlex.split(line, comments=True) for line in text.splitlines() if line.startswith("lossearch ")]


def mentioned(page):
    """Return every command of ours on a page, in blocks or in the text."""
    text = page.read_text(encoding="utf-8")
    inline = [shlex.split(" ".join(command.split())) for command in re.findall(r"`(lossearch [a-z][^`]*)`", text)]
    return [*inline, *(words for block in blocks(page) if not block.kind for words in commands(block.text))]
