"""The ``lossearch export`` command: writes a loss of a run, a known loss or a formula as a file."""

import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossearch.cli.output import fail, reported, say
from lossearch.cli.sources import board_of, known_or_formula

if TYPE_CHECKING:
    from lossearch.results.leaderboard import Entry

#: Arguments of ``lossearch.export``: no hyper-parameter of ``--set`` can have one of these names.
_ARGUMENTS = ("loss", "path", "format", "card", "num_classes", "embedding_size", "calibrated")


def export(
    source: Annotated[str, typer.Argument(help="Directory of a run, name of a known loss, or formula.")],
    out: Annotated[Path, typer.Option(help="File to write; its ending is the format: .py, .onnx or .pt2.")],
    rank: Annotated[int | None, typer.Option(min=1, help="Rank on the run's leaderboard.", show_default="1")] = None,
    form: Annotated[str | None, typer.Option("--format", help="py, onnx or pt2.", show_default="by the ending")] = None,
    card: Annotated[bool, typer.Option("--card", help="Write a model card beside it, as OUT.md.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Hyper-parameter, as NAME=VALUE. Repeat it for more.")
    ] = None,
    calibrated: Annotated[bool, typer.Option(help="Keep the factor that a run trained its loss with.")] = True,
    class_weights: Annotated[
        str | None, typer.Option(help="Class weights of a loss over embeddings: learned, pedcc or sub_centers.")
    ] = None,
    fine_tune_from: Annotated[float | None, typer.Option(help="Progress from which pedcc weights are learned.")] = None,
    num_classes: Annotated[int | None, typer.Option(min=1, help="Classes of a graph, .onnx or .pt2.")] = None,
    embedding_size: Annotated[int | None, typer.Option(min=1, help="Embedding size of a graph.")] = None,
    prior: Annotated[str | None, typer.Option(help="Class frequencies of a graph, as 0.7,0.2,0.1.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the files if they exist.")] = False,
) -> None:
    """Write a loss of a run, a known loss or a formula as a file that needs nothing of lossearch."""
    with reported():
        from lossearch.exporting import card_path, format_of
        from lossearch.exporting import export as export_loss

        format_of(out, form)
        files = [out, card_path(out)] if card else [out]
        for path in files:
            _require_free(path, force)
        options: dict[str, Any] = _read_hyperparameters(set_ or [])
        loss = _read_loss(source, rank, options.keys())
        options |= {"class_weights": class_weights} if class_weights is not None else {}
        options |= {"fine_tune_from": fine_tune_from} if fine_tune_from is not None else {}
        options |= {"prior": _read_numbers("--prior", prior)} if prior is not None else {}
        sizes = {"num_classes": num_classes, "embedding_size": embedding_size}
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                export_loss(loss, out, format=form, card=card, calibrated=calibrated, **sizes, **options)
        except OSError as error:
            fail(f"{out}: expected a file that can be written, got: {error.strerror}", 2)
        for warning in caught:
            if warning.category is UserWarning:
                say(f"note: {warning.message}")
        for path in files:
            print(path)


def _require_free(path: Path, force: bool) -> None:
    if path.is_dir():
        fail(f"{path}: expected a file to write, got a directory", 2)
    if path.exists() and not force:
        fail(f"{path}: exists already. Give another --out, or --force to replace it", 2)


def _read_loss(source: str, rank: int | None, hyperparameters: Collection[str]) -> "Entry | str":
    """Return the entry of a run, or the name or formula. End the command if the source is none of them."""
    if os.path.isdir(source):
        return _read_loss_of_run(Path(source), rank or 1)
    if rank is not None:
        fail(f"--rank: expected the directory of a run with it, got {source}", 2)
    return known_or_formula(source, hyperparameters)


def _read_loss_of_run(run: Path, rank: int) -> "Entry":
    board = board_of(run)
    if board.damages:
        fail(f"{board.damages[0].reason.rstrip('.')}. Without it the ranks may differ; --resume trains it again", 1)
    if rank > board.ranked:
        fail(f"--rank: expected 1 to {board.ranked}, the losses of {run} that were evaluated, got {rank}", 2)
    return board[rank - 1]


def _read_hyperparameters(settings: list[str]) -> dict[str, float]:
    """Read the hyper-parameters of ``--set NAME=VALUE``."""
    from lossearch.primitives.modules.options import MODULE_OPTIONS

    values: dict[str, float] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        name = name.strip()
        if name in (*_ARGUMENTS, *MODULE_OPTIONS):
            fail(f"--set: expected the name of a hyper-parameter, got {name!r}", 2)
        if name in values:
            fail(f"--set: expected each hyper-parameter once, got {name} twice", 2)
        try:
            values[name] = float(value)
        except ValueError:
            fail(f"--set: expected NAME=VALUE with a number, got {setting!r}", 2)
    return values


def _read_numbers(option: str, text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        fail(f"{option}: expected numbers with commas between them, got {text!r}", 2)
