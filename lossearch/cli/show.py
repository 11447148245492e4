"""The ``lossearch show`` and ``lossearch report`` commands: one loss of a run in text, and a whole run as HTML."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lossearch.cli.output import JsonFlag, print_json, print_path, reported, say

#: Ancestors that are named, the youngest first.
MAX_ANCESTORS = 5

#: Characters for the heights of a curve, and the characters of its width.
_HEIGHTS, _WIDTH = "▁▂▃▄▅▆▇█", 48


def show(
    run: Annotated[Path, typer.Argument(help="Directory of a run.", metavar="RUN")],
    loss: Annotated[
        str, typer.Argument(help="Rank of a loss, its id or the beginning of it, or a known loss's name.", metavar="ID")
    ],
    as_json: JsonFlag = False,
) -> None:
    """Show everything that a run knows about one loss."""
    with reported():
        from lossearch.cli.sources import board_of
        from lossearch.results.report.loss_facts import find_loss, loss_facts

        board = board_of(run)
        facts = loss_facts(board, find_loss(board, loss))
        if as_json:
            print_json(
                {
                    "row": asdict(facts.row),
                    "latex": facts.latex,
                    "evaluations": [asdict(record) for record in facts.evaluations],
                    "ancestors": [asdict(ancestor) for ancestor in facts.ancestors],
                    "trial": None if facts.trial is None else facts.trial.facts(),
                    "tuned": [asdict(tuned) for tuned in facts.tuned],
                    "verdicts": [asdict(line) for line in facts.verdicts],
                    "nearest": None if facts.explanation is None else facts.explanation.form.nearest,
                }
            )
        else:
            _print(facts)
        for message in facts.missing:
            say(message)


def report(
    run: Annotated[Path, typer.Argument(help="Directory of a run.", metavar="RUN")],
    out: Annotated[Path | None, typer.Option(help="File to write.", show_default="report.html in RUN")] = None,
    top: Annotated[int, typer.Option(min=0, max=50, help="Losses of the leaderboard with a section of their own.")] = 3,
    training: Annotated[
        bool,
        typer.Option("--training/--no-training", help="Train each of them once, and show its course."),
    ] = True,
    own_data: Annotated[
        bool, typer.Option("--own-data", help="Train on a folder or file of yours, if RUN's experiment names one.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file although it is no report.")] = False,
) -> None:
    """Write one HTML file that shows a run. It loads nothing, and can be sent as it is."""
    with reported():
        from lossearch.cli.sources import board_of
        from lossearch.results.report.page import require_directory, write_report

        require_directory(run, out, force)
        board_of(run)  # names parts that cannot be read
        if training:
            from lossearch.primitives.errors import UserError
            from lossearch.studies.observation import observe

            try:
                observe(run, top, say, own_data)
            except UserError as error:  # data may be missing here: the rest is shown
                say(f"Not trained: {error.with_options()}")
        print_path(write_report(run, out, top, force))


def _print(facts: Any) -> None:
    from lossearch.results.plain_text import printable

    for line in _format_lines(facts):
        print(printable(line))


def _format_lines(facts: Any) -> Iterator[str]:
    row = facts.row
    yield f"{row.loss_id}{f', {row.name}' if row.name else ''}: {row.formula}"
    yield f"  latex      {facts.latex}"
    yield f"  size       {row.complexity} nodes"
    if row.over_embeddings:
        weights = row.class_weights or "learned"
        yield f"  takes      embeddings, with {weights} class weights of its own in place of a last layer"
    yield f"  task       {row.task}, {row.fidelity}"
    yield f"  standing   {_format_standing(row)}"
    yield from (_format_training(record) for record in facts.evaluations if record.fitness is not None)
    duplicates = "" if not row.duplicates else f"; candidates that train alike: {row.duplicates}"
    yield f"  born       by {row.birth} in g{row.generation}, where g0 is the first generation{duplicates}"
    for ancestor in facts.ancestors[1 : MAX_ANCESTORS + 1]:
        gained = "" if ancestor.gained is None else f", {ancestor.gained:+.4f} on its better parent"
        called = ancestor.row.name or ancestor.row.formula
        yield f"    from {ancestor.row.loss_id} {called}: {_format_number(ancestor.row.fitness_mean)}{gained}"
    if len(facts.ancestors) > MAX_ANCESTORS + 1:
        yield f"    further ancestors: {len(facts.ancestors) - MAX_ANCESTORS - 1}"
    if facts.trial is not None:
        yield f"  fresh      {facts.trial.sentence(row.metric)}"
    for loss in facts.tuned:
        settings, value = ", ".join(map(_shorten_setting, loss.settings)), _format_number(loss.value)
        yield f"  tuned      on {loss.task}: {settings}; {value} on the validation split"
    for line in facts.verdicts:
        yield f"  verdict    {line.scene}, {line.task}: {line.verdict}; {line.why}"
    if facts.explanation is not None and facts.explanation.form.nearest is not None:
        yield f"  trains     most like {facts.explanation.form.nearest}, cosine {facts.explanation.form.cosine:.4f}"
    yield from _draw_curves(facts.curves)


def _format_training(evaluation: Any) -> str:
    steps = "" if evaluation.steps is None else f", {evaluation.steps} steps"
    factor = f"calibration {_format_number(evaluation.calibration)}"
    return f"    seed {evaluation.seed} on {evaluation.task}: {evaluation.fitness:.4f}{steps}, {factor}"


def _format_standing(row: Any) -> str:
    if row.rank is None:
        return f"{row.status}: {row.reason}"
    from lossearch.cli.tables import to_cross_entropy
    from lossearch.results.findings.table_text import with_deviation
    from lossearch.results.statistics.intervals import lacks_interval

    against = to_cross_entropy(row)
    kind = "95 %" if row.difference_high is not None else lacks_interval(row.seeds)
    difference = f", {against} ({kind}) to cross-entropy" if against else ""
    fitness = with_deviation(row.fitness_mean, row.fitness_std, row.seeds, " ±")
    front = ", on the Pareto front" if row.pareto else ""
    return f"rank {row.rank}: {row.metric} {fitness} over {row.seeds} seeds{difference}{front}"


def _shorten_setting(text: str) -> str:
    """Return ``name=value`` with the digits that matter. Text that is no number stays as it is."""
    name, _, value = text.partition("=")
    try:
        return f"{name}={float(value):.4g}"
    except ValueError:
        return text


def _format_number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _draw_curves(points: Sequence[Any]) -> Iterator[str]:
    """Draw the loss and others along the target's line, each curve from its least to its greatest value."""
    on_line = [point for point in points if point.line == "target" and point.progress in (None, 0.0)]
    if not on_line:
        return
    by_angle = on_line[0].axis == "angle"
    axis = "angle to the target's weight, 1 to 179 degrees" if by_angle else "probability of the target, 0.02 to 0.98"
    yield f"  value by {axis}:"
    for number, name in enumerate(dict.fromkeys(point.loss for point in on_line)):
        curve = sorted((point.at, point.value) for point in on_line if point.loss == name and point.value is not None)
        yield f"    {_draw_curve(curve, by_angle)} {'this loss' if number == 0 else name}"


def _draw_curve(curve: Sequence[tuple[float, float]], by_angle: bool) -> str:
    """Draw (position, value) pairs, sorted by position, as characters."""
    import numpy as np

    curve = [(at, value) for at, value in curve if math.isfinite(value)]  # the factor of a run may be anything
    if not curve:
        return " " * _WIDTH
    at, value = np.array(curve).T
    value = value / (np.abs(value).max() or 1.0)  # so that no difference overflows
    low, high = (float(at[0]), float(at[-1])) if by_angle else (0.02, 0.98)
    drawn = np.interp(np.linspace(low, high, _WIDTH), at, value)
    height = (drawn - drawn.min()) / (drawn.max() - drawn.min() or 1.0)
    return "".join(_HEIGHTS[int(level)] for level in np.minimum(height * len(_HEIGHTS), len(_HEIGHTS) - 1))
