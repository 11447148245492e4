"""The ``lossearch export`` command: writes a loss of a run, a known loss or a formula as a file."""

import os
import shlex
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossearch.cli.output import fail, print_path, reported, say, say_embedding_use, typed
from lossearch.cli.sources import board_of, known_or_formula, say_problems_of_findings

if TYPE_CHECKING:
    from lossearch.results.leaderboard import Entry


def export(
    source: Annotated[str, typer.Argument(help="Directory of a run, name of a known loss, or formula.")],
    out: Annotated[Path, typer.Option(help="File to write; its ending is the format: .py, .onnx or .pt2.")],
    rank: Annotated[
        int | None,
        typer.Option(min=1, help="Rank on the run's leaderboard.", show_default="the judged loss, else 1"),
    ] = None,
    tuned: Annotated[
        bool | None,
        typer.Option(
            "--tuned/--untuned",
            help="Numbers that tuning chose, or those of the search.",
            show_default="tuned if judged; with --rank untuned",
        ),
    ] = None,
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
    """Write a loss of a run, a known loss or a formula as a file that does not need lossearch."""
    with reported():
        from lossearch.exporting import card_path, format_of
        from lossearch.exporting import export as export_loss

        format_of(out, form)
        files = [out, card_path(out)] if card else [out]
        for path in files:
            _require_free(path, force)
        options: dict[str, Any] = _read_hyperparameters(set_ or [])
        loss = _read_loss(source, rank, tuned, options.keys())
        options |= {"class_weights": class_weights} if class_weights is not None else {}
        options |= {"fine_tune_from": fine_tune_from} if fine_tune_from is not None else {}
        options |= {"prior": _read_numbers("--prior", prior)} if prior is not None else {}
        sizes = {"num_classes": num_classes, "embedding_size": embedding_size}
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                export_loss(loss, out, format=form, card=card, calibrated=calibrated, force=force, **sizes, **options)
        except OSError as error:
            fail(f"{out}: expected a file that can be written, got: {error.strerror}", 2)
        _say_rejection(loss, options)
        for warning in caught:
            if warning.category is UserWarning:
                say(f"note: {warning.message}")
        if not isinstance(loss, str):
            _say_choice(loss, rank)
        _say_use(loss, form or out.suffix)
        for path in files:
            print_path(path)


def _require_free(path: Path, force: bool) -> None:
    if path.is_dir():
        fail(f"{path}: expected a file to write, got a directory. Give a file in it, such as {path / 'my_loss.py'}", 2)
    if path.exists() and not path.is_file():
        fail(f"{path}: expected a file to write, got a device or a pipe", 2)
    if path.exists() and not force:
        fail(f"{path}: exists already. Give another --out, or --force to replace it", 2)


def _read_loss(source: str, rank: int | None, tuned: bool | None, hyperparameters: Collection[str]) -> "Entry | str":
    """Return the entry of a run, or the name or formula. End the command if the source is none of them."""
    if os.path.isdir(source):
        return _read_loss_of_run(Path(source), rank, tuned)
    for option, given in (("--rank", rank), ("--tuned" if tuned else "--untuned", tuned)):
        if given is not None:
            fail(f"{option}: expected the directory of a run with it, got {source}", 2)
    return known_or_formula(source, hyperparameters)


def _read_loss_of_run(run: Path, rank: int | None, tuned: bool | None) -> "Entry":
    """Return the loss of a rank, or the best judged one, or rank 1, in the form that is asked for."""
    board = board_of(run, says_damages=False)
    if board.damages:
        fail(f"{board.damages[0].reason.rstrip('.')}. Without it the ranks may differ; --resume trains it again", 1)
    if not board.ranked:
        fail(f"{run}: expected a loss that was trained to the end, got none{board.why_unranked()}", 2)
    if rank is not None and rank > board.ranked:
        fail(f"--rank: expected 1 to {board.ranked}, the losses of {run} that were evaluated, got {rank}", 2)
    if rank is None or tuned:
        from lossearch.results.findings.tuned_forms import TunedForms

        for problem in TunedForms(run).unreadable():  # they say which loss was judged, and its numbers
            fail(f"{problem.removesuffix(' What it holds is left out.')} Mend it, or name --rank and --untuned", 2)
    say_problems_of_findings(run)
    if rank is not None:
        return board[rank - 1].tuned() if tuned else board[rank - 1]
    best = board.best()
    if tuned is None or (best.form is not None) == tuned:
        return best
    if not tuned:
        return best.untuned()
    of_tuning = board.tuned()
    if not of_tuning:
        fail(f"--tuned: expected a run that was tuned, got {run}. Tune it first: {typed(['tune', str(run)])}", 2)
    return of_tuning[0]


def _say_choice(entry: "Entry", rank: int | None) -> None:
    """Say which loss is exported, what is proved about it, and what to run if nothing is."""
    assert entry.board is not None
    run = str(entry.board.path)
    called = f"rank {entry.rank}: {entry.formula}"
    judge = typed(["compare", run])
    if entry.form is not None:
        from lossearch.results.findings.tuned_forms import training_text, verdict_text

        verdict = entry.form.verdict
        proved = f"Not judged. To judge it: {judge}" if verdict is None else f"Judged on {verdict_text(verdict)}."
        say(f"Tuned form of {called}. {proved}")
        say(f"Trained {training_text(entry.form)}.")
        if entry.calibration is None:
            say("note: the run holds no measurement of this form, so its factor is unknown: the file applies none.")
        return
    from lossearch.results.findings.tuned_forms import TunedForms

    forms, other = TunedForms(entry.board.path), entry.board.with_form(entry.row)
    if other is not None:
        state = "tuned" if not other.verdicts else "tuned and judged"
        words = ["--tuned"] if rank is None else ["--rank", str(rank), "--tuned"]
        say(f"Untuned form of {called}. It was {state} with numbers of its own: {shlex.join(words)} writes those.")
    elif rank is None and not forms.verdicts:
        steps = [judge] if forms.tuned else [typed(["tune", run]), judge]
        say(f"Nothing was judged, so this is {called}, untuned. To judge: {'; '.join(steps)}")


def _say_rejection(loss: "Entry | str", options: dict[str, Any]) -> None:
    """Say why a search would not train a formula of the user's own."""
    from lossearch.primitives.language.parser import valid_name

    if not isinstance(loss, str) or valid_name(loss):
        return
    from lossearch.evaluators.screening.screening import rejection
    from lossearch.loss_module import formula_with
    from lossearch.primitives.modules.options import MODULE_OPTIONS

    values = {name: value for name, value in options.items() if name not in MODULE_OPTIONS}
    reason = rejection(formula_with(loss, values).bind(values), options.get("class_weights"))
    if reason is not None:
        say(f"note: A search would not train this formula: {reason}.")


def _say_use(loss: "Entry | str", form: str) -> None:
    """Say how a loss over embeddings is used."""
    if isinstance(loss, str) or form.lstrip(".") != "py" or not loss.over_embeddings:
        return
    say_embedding_use("It")


def _read_hyperparameters(settings: list[str]) -> dict[str, float]:
    """Read the hyper-parameters of ``--set NAME=VALUE``."""
    from lossearch.exporting import ARGUMENTS
    from lossearch.primitives.modules.options import MODULE_OPTIONS

    values: dict[str, float] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        name = name.strip()
        if name in ("loss", "path", *ARGUMENTS, *MODULE_OPTIONS):
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
