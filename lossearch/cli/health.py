"""The ``lossearch status`` and ``lossearch doctor`` commands: how a run and a machine are doing."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossearch.cli import completion
from lossearch.cli.output import JsonFlag, as_words, print_json, reported, say, typed

if TYPE_CHECKING:
    from lossearch.runs.declaration import Declaration
    from lossearch.runs.status import Status

#: Most files that are named.
MAX_FILES = 3

#: Most workers that are listed one by one.
MAX_WORKERS = 16


def status(
    run: Annotated[Path, typer.Argument(help="Directory of a run.", metavar="RUN")],
    as_json: JsonFlag = False,
) -> None:
    """Show the progress of a search, also while it runs."""
    with reported():
        from lossearch.runs.status import status as status_of

        of_run = status_of(run)
        if as_json:
            print_json(of_run.to_dict())
        else:
            _print_status(of_run)


def doctor(
    experiment: Annotated[
        str | None,
        typer.Argument(
            help="TOML file, or name of a shipped experiment: its data and networks are checked, too.",
            metavar="[FILE]",
            autocompletion=completion.searches,
        ),
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster, auto or HOST:PORT.", show_default="local")
    ] = None,
    run_dir: Annotated[Path, typer.Option(help="Directory that runs would be kept in.")] = Path("runs"),
    track: Annotated[list[str] | None, typer.Option(help="Check tensorboard, mlflow or wandb. Repeatable.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Find out what is wrong with this machine, or with a cluster, and what to do."""
    with reported():
        from dataclasses import asdict

        from lossearch.runs.doctor import examine, healthy
        from lossearch.trackers import known_tracker

        findings = []
        read = None if experiment is None else partial(_read, experiment)
        trackers = {name: partial(known_tracker, name) for name in track or []}
        for finding in examine(run_dir, ray_address, read, trackers):
            findings.append(finding)
            if not as_json:
                print(f"{finding.state:8} {finding.what}: {finding.found}", flush=True)
                if finding.advice:
                    print(f"{'':9}{finding.advice}", flush=True)
        if as_json:
            print_json([asdict(finding) for finding in findings])
        is_healthy = healthy(findings)
        words = {"ray_address": ray_address, "run_dir": None if run_dir == Path("runs") else run_dir, "track": track}
        if is_healthy:
            _say_next(experiment, ray_address, track)
        else:
            again = ["doctor", *([] if experiment is None else [experiment]), *as_words(words)]
            say(f"Solve the problems above, then check again: {typed(again)}")
            raise typer.Exit(1)


def _read(name: str) -> "tuple[Declaration, Sequence[str]]":
    """Read a search or a comparison, and name its tasks."""
    from lossearch.runs.declaration import read_declaration
    from lossearch.runs.experiment import validated
    from lossearch.studies.comparison import validated_comparison

    keys, source = read_declaration(name)
    if "tasks" in keys:
        comparison = validated_comparison(keys, source)
        return comparison, comparison.tasks
    search = validated(keys, source)
    return search, search.tasks


def _say_next(experiment: str | None, ray_address: str | None, track: list[str] | None) -> None:
    """Say what to type next on a healthy machine."""
    where = as_words({"ray_address": ray_address})
    if experiment is None:
        say(f"Next, a first search, about a minute: {typed(['search', 'digits', *where])}")
        own = ["compare", "--task", "FOLDER", "--losses", "focal", *where]
        say(f"Or compare losses on your own data:   {typed(own)}")
        return
    from lossearch.runs.declaration import read_declaration

    if "tasks" in read_declaration(experiment)[0]:
        say(f"Next: {typed(['compare', experiment, *where])}")
    else:
        say(f"Next, the plan and its time: {typed(['search', experiment, '--dry-run'])}")
        say(f"Then the search itself:      {typed(['search', experiment, *where, *as_words({'track': track})])}")


def _print_status(status: "Status") -> None:
    from lossearch.primitives.errors import shown
    from lossearch.results.plain_text import printable
    from lossearch.results.ranking.counts import CandidateCounts
    from lossearch.results.records import takes_embeddings

    counts = CandidateCounts(**{name: count for name, count in status.candidates.items() if name != "trained"})
    speed = "" if status.trainings_per_minute is None else f", {status.trainings_per_minute:g} a minute recently"
    print(f"{printable(status.name)}: {status.state}, generation {status.generation} of {status.generations}")
    print(f"tasks: {', '.join(map(printable, status.tasks))}")
    print(f"candidates: {counts.sentence()}")
    print(f"trainings: {status.trainings}{speed}")
    if status.best_tested is not None:
        print(f"best, tested where nothing chose it: {shown(status.best_tested, limit=2_000)}")
    if status.best_fitness is not None:
        baseline = "" if status.cross_entropy is None else f", cross-entropy {status.cross_entropy:.4f}"
        over = ", over embeddings" if takes_embeddings(status.best_formula or "") else ""
        print(
            f"best on the split that chose it, which flatters it: {status.best_fitness:.4f}{baseline}{over}: "
            f"{shown(status.best_formula or '', limit=2_000)}"
        )
    for warning in status.warnings:
        print(f"warning: {warning}")
    if status.seconds:
        print(
            "driver: " + ", ".join(f"{printable(activity)} {spent:.1f} s" for activity, spent in status.seconds.items())
        )
    for name, worker in list(status.workers.items())[:MAX_WORKERS]:
        busy = ", ".join(f"{printable(activity)} {spent:.1f} s" for activity, spent in worker.seconds.items())
        print(f"worker {printable(name)}: {worker.trainings} trainings, {worker.per_minute:g} a minute: {busy}")
    if len(status.workers) > MAX_WORKERS:
        print(f"and {len(status.workers) - MAX_WORKERS} workers more; see --json")
    if status.last_evaluation:
        print(f"last evaluation: {printable(status.last_evaluation)}")
    if status.damages:
        print(f"parts that cannot be read: {status.damages}; --resume repeats their work")
    if status.unfinished:
        more = f" and {len(status.unfinished) - MAX_FILES} more" if len(status.unfinished) > MAX_FILES else ""
        named = ", ".join(map(printable, status.unfinished[:MAX_FILES]))
        print(f"left by a process that was killed, never read, and safe to remove: {named}{more}")
