"""An explanation as Markdown, a section of a model card. Text of a file stands as code."""

from collections.abc import Iterator

from lossearch.results.comparison_markdown import code
from lossearch.results.explanation import Explanation
from lossearch.results.explanation_text import Section, Table, sections


def explained(explanation: Explanation) -> str:
    """The section, with a heading for each of its parts."""
    parts = ["## What it does, and why", *map(_section, sections(explanation, code))]
    return "\n\n".join(parts)


def _section(section: Section) -> str:
    parts = [f"### {section.title}", " ".join(section.sentences), *("\n".join(_table(each)) for each in section.tables)]
    if section.conclusions:
        parts.append("\n".join(f"- {each}" for each in section.conclusions))
    return "\n\n".join(parts)


def _table(table: Table) -> Iterator[str]:
    yield f"{table.caption}:"
    yield ""
    yield f"| {' | '.join(table.columns)} |"
    yield f"|{'---|' * len(table.columns)}"
    for row in table.rows:
        yield f"| {' | '.join(row)} |"
