"""The ``lossearch compare`` command: parse, call, print."""

import re
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lossearch import completion
from lossearch.outcome import as_words, fail, interrupted, print_json, reported, say


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
        typer.Option(help="A task, a folder of images, or an .npz file; give it several times for several."),
    ] = None,
    losses: Annotated[
        str | None, typer.Option(help="Names, am_softmax(m=0.3), or formulas, separated by commas.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Trainings of each loss. [default: 10]")] = None,
    tune: Annotated[
        int | None, typer.Option(min=0, help="Settings tried of each loss on the validation split. [default: 0]")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="What others are compared with. [default: cross_entropy]")
    ] = None,
    network: Annotated[str | None, typer.Option(help="Replaces each task's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps; replaces each task's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Replaces each task's.")] = None,
    split: Annotated[Literal["test", "validation"] | None, typer.Option(help="To measure on. [default: test]")] = None,
    measure: Annotated[str | None, typer.Option(help="What the table is about. [default: the task's metric]")] = None,
    seed: Annotated[int | None, typer.Option(help="Of every random choice.")] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Tuned losses of a search to judge. [default: 3]")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Where it is kept. [default: runs/NAME-TIME]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the comparison in --run-dir.")] = False,
    ray_address: Annotated[str | None, typer.Option(help="Ray cluster, auto or HOST:PORT. [default: local]")] = None,
    executor: Annotated[Literal["ray", "inline"] | None, typer.Option(help="Replaces the declared one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train losses fully under the same seeds, and compare them with a baseline on held-out data.

    Of a search's directory, judge its tuned losses: on its own task, with a second --network, on a second --task.
    """
    with reported():
        if file is not None and (Path(file) / "experiment.toml").is_file():
            _judge(Path(file), as_json, seeds, top, network, task, executor, ray_address)
            return
        overrides = {
            "tasks": task,
            "losses": losses,
            "seeds": seeds,
            "tune": tune,
            "baseline": baseline,
            "split": split,
            "seed": seed,
            "fidelity": {"network": network, "steps": steps, "learning_rate": learning_rate},
        }
        if resume and run_dir is None:
            fail("--resume: expected --run-dir, the directory of the comparison to continue, got none", 2)
        declared = _declared(file, overrides, run_dir if resume else None)
        from lossearch.comparison_view import comparison_view
        from lossearch.launch_comparison import ComparisonInterrupted
        from lossearch.launch_comparison import compare as run_comparison

        try:
            with comparison_view() as view:
                done = run_comparison(
                    declared,
                    run_dir=run_dir,
                    resume=resume,
                    executor=executor,
                    ray_address=ray_address,
                    measure=measure,
                    view=view,
                )
        except ComparisonInterrupted as stopped:
            where = {"executor": executor, "ray_address": ray_address}
            words = as_words({"run_dir": stopped.path, "resume": True, "measure": measure, **where})
            interrupted("measured", ["compare", *words])
        _print(done, as_json)


def _judge(
    run: Path,
    as_json: bool,
    seeds: int | None,
    top: int | None,
    network: str | None,
    tasks: list[str] | None,
    executor: str | None,
    ray_address: str | None,
) -> None:
    """Judge the losses of a search; what is not given is as usual."""
    from lossearch.cli_tune import print_verdicts

    given = {"seeds": seeds, "top": top, "network": network, "tasks": tasks}
    given |= {"executor": executor, "ray_address": ray_address}
    print_verdicts(run, as_json, **{key: value for key, value in given.items() if value is not None})


def _declared(file: str | None, overrides: dict[str, Any], earlier: Path | None) -> Any:
    """The comparison asked for: of a file, of an earlier run, or of the options alone."""
    from lossearch.comparison import load_comparison, replaced, validated_comparison
    from lossearch.comparison_directory import ComparisonDirectory
    from lossearch.seeds import split_names

    given = {key: value for key, value in overrides.items() if value is not None}
    given["fidelity"] = {key: value for key, value in given["fidelity"].items() if value is not None}
    if isinstance(given.get("losses"), str):
        given["losses"] = split_names(given["losses"])
    if "tasks" in given:
        given["tasks"], data = _own_data(given["tasks"])
        given |= {"data": data} if data else {}
    if file is not None:
        return load_comparison(file, **given)
    if earlier is not None:
        recorded = ComparisonDirectory.recorded(earlier)
        return validated_comparison(replaced(recorded.model_dump(), given), str(earlier))
    missing = [option for option, key in (("--task", "tasks"), ("--losses", "losses")) if not given.get(key)]
    if missing:
        fail(f"expected FILE, or --task and --losses, got no {' and no '.join(missing)}", 2)
    return validated_comparison({"name": "compare", **given}, "compare")


def _own_data(tasks: list[str]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """The names of tasks, those of folders of images and of files of arrays made of theirs; and this data."""
    from evaluators.tasks import TASKS

    names, data = [], {}
    for task in tasks:
        name = task
        is_file = Path(task).is_file()
        if task not in TASKS and (is_file or Path(task).is_dir()):
            stem = Path(task).stem if is_file else Path(task).resolve().name
            plain = re.sub(r"[^A-Za-z0-9_-]", "_", stem).lstrip("_-")[:48] or "data"
            tried = chain([plain], (f"{plain}_{number}" for number in count(2)))
            name = next(each for each in tried if each not in TASKS and each not in data)
            data[name] = {"arrays" if is_file else "folder": task}
        names.append(name)
    return names, data


def _print(done: Any, as_json: bool) -> None:
    from results.comparison_table import why_no_winner

    if as_json:
        print_json(done.table.to_dicts())
    else:
        _print_tables(done.table)
    for task in sorted({each.task for each in done.table.measurements} - set(done.table.tasks)):
        say(f"{task} has no such measure.")
    reason = why_no_winner(done.table.lines)
    if reason is not None:
        say(reason)
    say(f"Run: {done.path}")


def _print_tables(table: Any) -> None:
    from lossearch.comparison_view import comparison_table
    from lossearch.terminal import tables

    console = tables()
    for task in table.tasks:
        console.print(comparison_table(table.of_task(task), narrow=console.width < 90))
        console.print()
