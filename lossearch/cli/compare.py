"""The ``lossearch compare`` command: compares losses, or judges the tuned losses of a search."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lossearch.cli import completion
from lossearch.cli.output import (
    JsonFlag,
    as_words,
    fail,
    interrupted,
    print_json,
    reported,
    say,
    say_embedding_use,
    say_legend,
    typed,
)
from lossearch.cli.sources import require_executor, say_named_data

if TYPE_CHECKING:
    from lossearch.results.findings.comparison import ComparisonTable
    from lossearch.results.findings.verdict_table import VerdictTable
    from lossearch.studies.compare import ComparedLosses
    from lossearch.studies.comparison import Comparison

#: Panels of the help: options that apply only without a search's directory, or only with one.
_WITHOUT, _WITH = "Without a search's directory", "With a search's directory"

#: Why an option does not apply, and what to do.
_NOT_WITH_SEARCH = (
    "expected a comparison, got a search's directory, whose tuned losses are judged on the test split. The same call "
    "continues where one was stopped. Leave this out; --seeds, --top, --network and --task apply"
)
_NOT_WITHOUT_SEARCH = "expected a search's directory with it, got none. Leave this out; --losses names what is compared"


def compare(
    file: Annotated[
        str | None,
        typer.Argument(
            help="TOML file, name of a shipped comparison, or a search's directory.",
            metavar="[FILE]",
            autocompletion=completion.comparisons,
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(help="Task, folder of images, or .npz file. With a search: a second task. Repeat it for more."),
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="Replaces each task's network. With a search: the second network.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Trainings of each loss.", show_default="10, with a search 20")
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="Tuned losses to judge.", show_default="3", rich_help_panel=_WITH)
    ] = None,
    losses: Annotated[
        str | None,
        typer.Option(help="Names, am_softmax(m=0.3), or formulas, separated by commas.", rich_help_panel=_WITHOUT),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Loss that the others are compared with.", show_default="cross_entropy", rich_help_panel=_WITHOUT
        ),
    ] = None,
    tune: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Settings tried of each loss on the validation split.",
            show_default="0",
            rich_help_panel=_WITHOUT,
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Replaces each task's optimiser steps.", rich_help_panel=_WITHOUT)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Replaces each task's learning rate.", rich_help_panel=_WITHOUT)
    ] = None,
    split: Annotated[
        Literal["test", "validation"] | None,
        typer.Option(help="Split to measure on.", show_default="test", rich_help_panel=_WITHOUT),
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(help="Measure of the table.", show_default="the task's metric", rich_help_panel=_WITHOUT),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of every random choice.", show_default="0", rich_help_panel=_WITHOUT)
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Directory of the comparison.", show_default="runs/NAME-TIME", rich_help_panel=_WITHOUT),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the comparison in --run-dir.", rich_help_panel=_WITHOUT)
    ] = False,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster, auto or HOST:PORT.", show_default="local")
    ] = None,
    executor: Annotated[Literal["ray", "inline"] | None, typer.Option(help="Replaces the declared executor.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Train losses fully under the same seeds, and compare them with a baseline on held-out data.

    With a search's directory, judge its tuned losses: on its own task, with a second --network, on a second --task.
    """
    with reported():
        declared_options = {"losses": losses, "tune": tune, "baseline": baseline, "split": split, "seed": seed}
        training = {"steps": steps, "learning_rate": learning_rate}
        where: dict[str, Any] = {"executor": executor, "ray_address": ray_address}
        require_executor(executor, ray_address)
        if network is not None:
            from lossearch.evaluators.networks.registry import require_network

            require_network(network)
        if file is not None and os.path.isfile(os.path.join(file, "experiment.toml")):
            further = {"measure": measure, "run_dir": run_dir, "resume": resume}
            _refuse({**declared_options, **training, **further}, _NOT_WITH_SEARCH)
            say_named_data(Path(file))
            judging = {"seeds": seeds, "top": top, "network": network, "tasks": task, **where}
            _judge(Path(file), {name: value for name, value in judging.items() if value is not None}, as_json)
            return
        _refuse({"top": top}, _NOT_WITHOUT_SEARCH)
        if resume and run_dir is None:
            fail("--resume: expected --run-dir, the directory of the comparison to continue, got none", 2)
        if resume and run_dir is not None:
            say_named_data(run_dir, "comparison.toml")
        overrides = {
            "tasks": task,
            "seeds": seeds,
            **declared_options,
            "fidelity": {"network": network, **training},
        }
        declared = _declared(file, overrides, run_dir if resume else None)
        _require_varying_losses(declared)
        from lossearch.cli.progress_bars import study_view
        from lossearch.studies.compare import compare as run_comparison
        from lossearch.studies.runner import StudyInterrupted

        try:
            with study_view() as view:
                compared = run_comparison(declared, run_dir=run_dir, resume=resume, measure=measure, view=view, **where)
        except StudyInterrupted as stopped:
            words = as_words({"run_dir": stopped.path, "resume": True, "measure": measure, **where})
            interrupted("measured", ["compare", *words])
        _print(compared, as_json)


def _refuse(options: Mapping[str, Any], reason: str) -> None:
    """End the command if one of the options is given."""
    given = as_words({name: True for name, value in options.items() if value is not None and value is not False})
    if given:
        fail(f"{', '.join(given)}: {reason}", 2)


def _declared(file: str | None, overrides: dict[str, Any], earlier: Path | None) -> "Comparison":
    """Return the comparison of a file, of an earlier run, or of the options alone."""
    from lossearch.primitives.errors import shown
    from lossearch.runs.declaration import ARGUMENTS
    from lossearch.runs.named_loss import split_names
    from lossearch.studies.comparison import ComparisonDirectory, load_comparison, replaced, validated_comparison

    given = {key: value for key, value in overrides.items() if value is not None}
    given["fidelity"] = {key: value for key, value in given["fidelity"].items() if value is not None}
    if "losses" in given:
        given["losses"] = split_names(given["losses"])
    if file is not None:
        source = file if os.path.exists(file) else shown(file, limit=200)  # pathlib fails where it is too long
        return load_comparison(source, **given)
    if earlier is not None:
        recorded = ComparisonDirectory.recorded(earlier)
        return validated_comparison(replaced(recorded.model_dump(), given), str(earlier), given=given)
    missing = [option for option, key in (("--task", "tasks"), ("--losses", "losses")) if not given.get(key)]
    if missing:
        fail(f"expected FILE, or --task and --losses, got no {' and no '.join(missing)}", 2)
    return validated_comparison(replaced({"name": "compare"}, given), ARGUMENTS)


def _require_varying_losses(declared: "Comparison") -> None:
    """Raise UserError for a formula of the user's own that no training would change."""
    from lossearch.evaluators.screening.screening import require_varying
    from lossearch.runs.named_loss import named_loss

    for loss in map(named_loss, declared.all_losses()):
        if loss.known is None:
            require_varying(loss.formula, loss.class_weights)


def _print(compared: "ComparedLosses", as_json: bool) -> None:
    from lossearch.results.findings.comparison import failure_reasons, why_no_winner

    table = compared.table
    if as_json:
        print_json(table.to_dicts())
    else:
        _print_tables(table)
    for task in sorted({record.task for record in table.measurements} - set(table.tasks)):
        say(f"{task} has no such measure.")
    for message in failure_reasons(table.lines):
        say(message)
    reason = why_no_winner(table.lines)
    if reason is not None:
        say(reason)
    say(f"Run: {compared.path}")


def _print_tables(table: "ComparisonTable") -> None:
    from lossearch.cli.output import tables
    from lossearch.cli.tables import comparison_table
    from lossearch.results.findings.comparison import scope_note

    console = tables()
    for task in table.tasks:
        console.print(comparison_table(table.of_task(task), narrow=console.width < 90))
        console.print()
    note = scope_note(table.lines)
    if note is not None:
        say(note)


def _judge(run: Path, options: dict[str, Any], as_json: bool) -> None:
    """Judge the tuned losses of a search, and print the verdicts."""
    from lossearch.cli.progress_bars import study_view
    from lossearch.results.storage.tables import DamagedFile
    from lossearch.studies.runner import StudyInterrupted
    from lossearch.studies.verdict import estimate_verdict, plan_scenes, verdict

    size = {name: value for name, value in options.items() if name not in ("executor", "ray_address")}
    try:
        scenes = plan_scenes(run, **size)
    except DamagedFile as error:
        fail(f"{str(error).rstrip('.')}. Remove it and tune again: {typed(['tune', str(run)])}", 2)
    for scene, trainings in scenes:
        say(f"{scene.name}: {scene.task}, network {scene.fidelity.network}, {trainings} trainings")
    say(estimate_verdict(run, scenes, options.get("tasks"), options.get("executor")))
    try:
        with study_view() as view:
            judged = verdict(run, view=view, **options)
    except StudyInterrupted:
        words = {"task" if name == "tasks" else name: value for name, value in options.items()}
        interrupted("measured", ["compare", str(run), *as_words(words)])
    if as_json:
        print_json(judged.table.to_dicts())
    else:
        _print_verdicts(judged.table)
    say(f"Verdicts: {judged.path}")
    _say_next(run)


def _say_next(run: Path) -> None:
    """Name the best judged loss and the command that writes it, and say how it is used over embeddings."""
    from lossearch.cli.sources import board_of
    from lossearch.results.findings.tuned_forms import verdict_text

    board = board_of(run)
    best = board.judged()[:1]
    for entry in best:
        if entry.form is not None and entry.form.verdict is not None:
            say(f"Best judged loss, rank {entry.rank}: {entry.formula}. Judged on {verdict_text(entry.form.verdict)}.")
        if entry.over_embeddings:
            say_embedding_use("The best judged loss")
        say(f"Write it as a file, with its tuned numbers: {typed(['export', str(run), '--out', 'my_loss.py'])}")


def _print_verdicts(table: "VerdictTable") -> None:
    from lossearch.cli.output import tables
    from lossearch.cli.tables import verdict_table
    from lossearch.results.findings.verdict_table import selection_note
    from lossearch.results.plain_text import printable

    console = tables()
    for scene in table.scenes:
        lines = table.of_scene(scene)
        console.print(verdict_table(lines, narrow=console.width < 100))
        for line in lines:
            say(printable(f"{line.formula}: {line.verdict}; {line.why}."))
        say_legend([line.formula for line in lines])
        say(selection_note(lines[0]))
        console.print()
