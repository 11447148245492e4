"""The command ``lossearch export``: a loss of a run, a known loss or a formula as a file."""

import os
import re
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from lossearch.cli.output import fail, reported, say

#: Arguments of ``lossearch.export``, which no hyper-parameter that is set here can have as its name.
_ARGUMENTS = ("loss", "path", "format", "card", "num_classes", "embedding_size", "calibrated")


def export(
    source: Annotated[str, typer.Argument(help="Directory of a run, name of a known loss, or formula.")],
    out: Annotated[Path, typer.Option(help="File to write; its ending says the format: .py, .onnx or .pt2.")],
    rank: Annotated[int | None, typer.Option(min=1, help="Rank on the run's leaderboard.", show_default="1")] = None,
    form: Annotated[str | None, typer.Option("--format", help="py, onnx or pt2.", show_default="by the ending")] = None,
    card: Annotated[bool, typer.Option("--card", help="Write a model card beside it, as OUT.md.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Hyper-parameter, as NAME=VALUE; again for another.")
    ] = None,
    calibrated: Annotated[bool, typer.Option(help="With the factor that a run's loss was trained with.")] = True,
    class_weights: Annotated[
        str | None, typer.Option(help="Of a loss over embeddings: learned, pedcc or sub_centers.")
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
        from lossearch.primitives.errors import UserError

        format_of(out, form)
        written = [out, card_path(out)] if card else [out]
        for path in written:
            _require_free(path, force)
        options: dict[str, Any] = _hyperparameters(set_ or [])
        loss = _loss(source, rank, list(options))
        options |= {"class_weights": class_weights} if class_weights is not None else {}
        options |= {"fine_tune_from": fine_tune_from} if fine_tune_from is not None else {}
        options |= {"prior": _numbers("--prior", prior)} if prior is not None else {}
        sizes = {"num_classes": num_classes, "embedding_size": embedding_size}
        try:
            with warnings.catch_warnings(record=True) as remarks:
                warnings.simplefilter("always", UserWarning)
                export_loss(loss, out, format=form, card=card, calibrated=calibrated, **sizes, **options)
        except UserError as error:
            fail(_as_options(str(error)), 2)
        except OSError as error:
            fail(f"{out}: expected a file that can be written, got: {error.strerror}", 2)
        for remark in remarks:
            if remark.category is UserWarning:
                say(f"note: {remark.message}")
        for path in written:
            print(path)


def board_of(run: Path) -> Any:
    """The run's leaderboard; what is damaged is told by the caller, as an error."""
    from lossearch.results.leaderboard import Leaderboard

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Leaderboard(run)


def _require_free(path: Path, force: bool) -> None:
    if path.is_dir():
        fail(f"{path}: expected a file to write, got a directory", 2)
    if path.exists() and not force:
        fail(f"{path}: exists already. Give another --out, or --force to replace it", 2)


def _loss(source: str, rank: int | None, hyperparameters: list[str]) -> Any:
    """The entry of a run, or the name or formula. Ends the command where it is neither."""
    if os.path.isdir(source):
        return _loss_of_run(Path(source), rank or 1)
    if rank is not None:
        fail(f"--rank: expected the directory of a run beside it, got {source}", 2)
    return _known_or_formula(source, hyperparameters)


def _loss_of_run(run: Path, rank: int) -> Any:
    board = board_of(run)
    if board.damages:
        fail(f"{board.damages[0].reason.rstrip('.')}. Without it the ranks may be others; --resume trains it again", 1)
    if rank > board.ranked:
        fail(f"--rank: expected 1 to {board.ranked}, the losses of {run} that were evaluated, got {rank}", 2)
    return board[rank - 1]


def _known_or_formula(source: str, hyperparameters: list[str]) -> str:
    from lossearch.primitives.catalog import ALIASES, CATALOG
    from lossearch.primitives.errors import nearest
    from lossearch.primitives.language.parser import parse, valid_name

    names = [*CATALOG, *ALIASES]
    if source in names:
        return source
    if not source.strip() or valid_name(source) or os.path.exists(source):
        near = nearest(source, names) if valid_name(source) else ". lossearch losses lists the names"
        fail(f"{source!r}: expected the directory of a run, the name of a known loss or a formula{near}", 2)
    if re.fullmatch(r"[\w.~-]*(/[\w.-]*)+", source):
        try:
            parse(source, hyperparameters)
        except ValueError:
            fail(f"{source}: expected the directory of a run; there is none of that name", 2)
    return source


def _hyperparameters(settings: list[str]) -> dict[str, float]:
    """Hyper-parameters of ``--set NAME=VALUE``."""
    from lossearch.primitives.catalog.loss import MODULE_OPTIONS

    found = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        name = name.strip()
        if name in (*_ARGUMENTS, *MODULE_OPTIONS):
            fail(f"--set: expected the name of a hyper-parameter, got {name!r}", 2)
        if name in found:
            fail(f"--set: expected each hyper-parameter once, got {name} twice", 2)
        try:
            found[name] = float(value)
        except ValueError:
            fail(f"--set: expected NAME=VALUE with a number, got {setting!r}", 2)
    return found


def _as_options(message: str) -> str:
    """A message of ``lossearch.export`` with its arguments as the options of this command."""
    named = re.sub(r"\b(num_classes|embedding_size|format|prior)=(\.\.\.)?", lambda found: _option(found[1]), message)
    return named.replace("calibrated=False beside", "--no-calibrated beside")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        fail(f"{option}: expected numbers with commas between them, got {text!r}", 2)
