"""A comparison as Markdown: a table for each task. Text of others stands as code."""

from collections.abc import Sequence

from lossearch.results.comparison_lines import Line


def as_markdown(lines: Sequence[Line], level: int = 2) -> str:
    """A heading of this level and a table for each task; what was tuned has a column."""
    parts = []
    for task in dict.fromkeys(line.task for line in lines):
        own = [line for line in lines if line.task == task]
        head = own[0]
        parts += [
            f"{'#' * level} {code(task)}: {code(head.measure)} on the {head.split} split",
            "",
            f"{_trained(own)}, {max(line.seeds for line in own)} seeds.",
            "",
            "| loss | mean ± std | difference to the baseline | 95 % interval | p (Holm) | verdict | learning rate |",
            "|---|---|---|---|---|---|---|",
            *(_row(line) for line in own),
            "",
        ]
    return "\n".join(parts)


def _trained(lines: Sequence[Line]) -> str:
    """By which training, where it was one for all."""
    labels = {line.fidelity for line in lines}
    return f"Trained as {code(labels.pop())}" if len(labels) == 1 else "Each trained at the learning rate that suits it"


def _row(line: Line) -> str:
    rate = "" if line.learning_rate is None else f"{line.learning_rate:.3g}"
    said = line.verdict if line.mean is not None else f"{line.verdict}: {code(line.reason or '')}"
    return f"| {' | '.join((code(line.loss), *line.numbers(' ± '), said, rate))} |"


def code(text: str) -> str:
    """Text as Markdown code, without what would end it."""
    plain = "".join(each if each.isprintable() and each not in "`|<>" else "?" for each in text)
    return f"`{plain}`" if plain.strip() else "(none)"
