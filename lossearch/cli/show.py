"""The ``lossearch show`` command: parse, call, print."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lossearch.cli.output import print_json, reported, say

#: Ancestors that are named: the youngest.
ANCESTORS = 5

#: Heights that a curve in text has, and how wide it is.
_HEIGHTS, _WIDTH = "▁▂▃▄▅▆▇█", 48


def show(
    run: Annotated[Path, typer.Argument(help="Directory of a run.", metavar="RUN")],
    loss: Annotated[
        str, typer.Argument(help="Its rank, its id or the beginning of it, or a known loss's name.", metavar="ID")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show all that a run tells of one loss."""
    with reported():
        from lossearch.cli.export import board_of
        from lossearch.results.report.loss_facts import find_loss, loss_facts

        board = board_of(run)
        facts = loss_facts(board, find_loss(board, loss))
        if as_json:
            print_json(
                {
                    "row": asdict(facts.row),
                    "latex": facts.latex,
                    "evaluations": [asdict(each) for each in facts.evaluations],
                    "ancestors": [asdict(each) for each in facts.ancestors],
                    "trial": None if facts.trial is None else facts.trial.facts(),
                    "tuned": [asdict(each) for each in facts.tuned],
                    "verdicts": [asdict(each) for each in facts.verdicts],
                    "nearest": None if facts.explanation is None else facts.explanation.form.nearest,
                }
            )
        else:
            _print(facts)
        for each in facts.missing:
            say(each)


def _print(facts: Any) -> None:
    from lossearch.results.plain_text import printable

    for line in _lines(facts):
        print(printable(line))


def _lines(facts: Any) -> Iterator[str]:
    row = facts.row
    yield f"{row.loss_id}{f', {row.name}' if row.name else ''}: {row.formula}"
    yield f"  latex      {facts.latex}"
    yield f"  size       {row.complexity} nodes"
    if row.class_weights is not None:
        yield f"  weights    {row.class_weights}"
    yield f"  task       {row.task}, {row.fidelity}"
    yield f"  standing   {_standing(row)}"
    yield from map(_training, (each for each in facts.evaluations if each.fitness is not None))
    again = "" if not row.duplicates else f"; candidates that train alike: {row.duplicates}"
    yield f"  born       by {row.birth} in generation {row.generation}{again}"
    for each in facts.ancestors[1 : ANCESTORS + 1]:
        gained = "" if each.gained is None else f", {each.gained:+.4f} on its better parent"
        called = each.row.name or each.row.formula
        yield f"    from {each.row.loss_id} {called}: {_number(each.row.fitness_mean)}{gained}"
    if len(facts.ancestors) > ANCESTORS + 1:
        yield f"    further ancestors: {len(facts.ancestors) - ANCESTORS - 1}"
    if facts.trial is not None:
        yield f"  fresh      {facts.trial.sentence(row.metric)}"
    for each in facts.tuned:
        yield f"  tuned      on {each.task}: {', '.join(each.settings)}; {_number(each.value)} on the validation split"
    for each in facts.verdicts:
        yield f"  verdict    {each.scene}, {each.task}: {each.verdict}; {each.why}"
    if facts.explanation is not None and facts.explanation.form.nearest is not None:
        yield f"  trains     most like {facts.explanation.form.nearest}, cosine {facts.explanation.form.cosine:.4f}"
    yield from _curves(facts.curves)


def _training(evaluation: Any) -> str:
    steps = "" if evaluation.steps is None else f", {evaluation.steps} steps"
    factor = f"calibration {_number(evaluation.calibration)}"
    return f"    seed {evaluation.seed} on {evaluation.task}: {evaluation.fitness:.4f}{steps}, {factor}"


def _standing(row: Any) -> str:
    if row.rank is None:
        return f"{row.status}: {row.reason}"
    spread = "" if row.fitness_std is None else f" ±{row.fitness_std:.4f}"
    from lossearch.cli.tables import to_cross_entropy

    against = to_cross_entropy(row)
    difference = f", {against}{' (95 %)' if '±' in against else ''} to cross-entropy" if against else ""
    front = ", on the Pareto front" if row.pareto else ""
    return f"rank {row.rank}: {row.metric} {row.fitness_mean:.4f}{spread} over {row.seeds} seeds{difference}{front}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _curves(points: Sequence[Any]) -> Iterator[str]:
    """The value of the loss and of others, from its least to its greatest, along the target's line."""
    own = [each for each in points if each.line == "target" and each.progress in (None, 0.0)]
    if not own:
        return
    by_angle = own[0].axis == "angle"
    axis = "angle to the target's weight, 1 to 179 degrees" if by_angle else "probability of the target, 0.02 to 0.98"
    yield f"  value by {axis}:"
    names = list(dict.fromkeys(each.loss for each in own))
    for number, name in enumerate(names):
        line = sorted((each.at, each.value) for each in own if each.loss == name and each.value is not None)
        yield f"    {_curve(line, by_angle)} {'this loss' if number == 0 else name}"


def _curve(line: Sequence[tuple[float, float]], by_angle: bool) -> str:
    import numpy as np

    if not line:
        return " " * _WIDTH
    at, value = np.array(line).T
    low, high = (float(at[0]), float(at[-1])) if by_angle else (0.02, 0.98)
    seen = np.interp(np.linspace(low, high, _WIDTH), at, value)
    height = (seen - seen.min()) / (seen.max() - seen.min() or 1.0)
    return "".join(_HEIGHTS[int(each)] for each in np.minimum(height * len(_HEIGHTS), len(_HEIGHTS) - 1))
