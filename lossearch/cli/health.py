"""The ``lossearch status`` and ``lossearch doctor`` commands: how a run and a machine are doing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossearch.cli.output import JsonFlag, print_json, reported

if TYPE_CHECKING:
    from lossearch.runs.status import Status

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
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster, auto or HOST:PORT.", show_default="local")
    ] = None,
    run_dir: Annotated[Path, typer.Option(help="Directory that runs would be kept in.")] = Path("runs"),
    as_json: JsonFlag = False,
) -> None:
    """Find out what is wrong with this machine, or with a cluster, and what to do."""
    with reported():
        from dataclasses import asdict

        from lossearch.runs.doctor import examine, healthy

        findings = []
        for finding in examine(run_dir, ray_address):
            findings.append(finding)
            if not as_json:
                print(f"{finding.state:8} {finding.what}: {finding.found}")
                if finding.advice:
                    print(f"{'':9}{finding.advice}")
        if as_json:
            print_json([asdict(finding) for finding in findings])
        if not healthy(findings):
            raise typer.Exit(1)


def _print_status(status: "Status") -> None:
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
        print(f"best, tested where nothing chose it: {printable(status.best_tested)}")
    if status.best_fitness is not None:
        baseline = "" if status.cross_entropy is None else f", cross-entropy {status.cross_entropy:.4f}"
        over = ", over embeddings" if takes_embeddings(status.best_formula or "") else ""
        print(
            f"best on the split that chose it, which flatters it: {status.best_fitness:.4f}{baseline}{over}: "
            f"{printable(status.best_formula or '')}"
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
