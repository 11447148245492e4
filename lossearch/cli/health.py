"""The ``lossearch status`` and ``lossearch doctor`` commands: parse, call, print."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lossearch.cli.output import print_json, reported

#: Workers that are listed one by one.
WORKERS_SHOWN = 16

_JSON = typer.Option("--json", help="Print JSON.")


def status(
    run: Annotated[Path, typer.Argument(help="Directory of a run.", metavar="RUN")],
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Show how a search stands, also while it runs."""
    with reported():
        from lossearch.runs.status import status as of_run

        found = of_run(run)
        if as_json:
            print_json(found.to_dict())
        else:
            _print_status(found)


def doctor(
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster, auto or HOST:PORT.", show_default="local")
    ] = None,
    run_dir: Annotated[Path, typer.Option(help="Where runs would be kept.")] = Path("runs"),
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Tell what is wrong with this machine, or with a cluster, and what to do."""
    with reported():
        from dataclasses import asdict

        from lossearch.runs.doctor import examine, healthy

        findings = []
        for each in examine(run_dir, ray_address):
            findings.append(each)
            if not as_json:
                print(f"{each.state:8} {each.what}: {each.found}" + (f"\n{'':9}{each.advice}" if each.advice else ""))
        if as_json:
            print_json([asdict(each) for each in findings])
        if not healthy(findings):
            raise typer.Exit(1)


def _print_status(found: Any) -> None:
    from lossearch.results.plain_text import printable

    counts = ", ".join(f"{count} {name}" for name, count in sorted(found.candidates.items())) or "none yet"
    speed = "" if found.trainings_per_minute is None else f", {found.trainings_per_minute:g} a minute lately"
    print(f"{printable(found.name)}: {found.state}, generation {found.generation} of {found.generations}")
    print(f"tasks: {', '.join(map(printable, found.tasks))}")
    print(f"losses: {counts}")
    print(f"trainings: {found.trainings}{speed}")
    if found.best_fitness is not None:
        beside = "" if found.cross_entropy is None else f", cross-entropy {found.cross_entropy:.4f}"
        print(f"best: {found.best_fitness:.4f}{beside}: {printable(found.best_formula)}")
    if found.seconds:
        print("driver: " + ", ".join(f"{printable(name)} {spent:.1f} s" for name, spent in found.seconds.items()))
    for name, each in list(found.workers.items())[:WORKERS_SHOWN]:
        busy = ", ".join(f"{printable(what)} {spent:.1f} s" for what, spent in each.seconds.items())
        print(f"worker {printable(name)}: {each.trainings} trainings, {each.per_minute:g} a minute: {busy}")
    if len(found.workers) > WORKERS_SHOWN:
        print(f"and {len(found.workers) - WORKERS_SHOWN} workers more; see --json")
    if found.last_evaluation:
        print(f"last evaluation: {printable(found.last_evaluation)}")
    if found.damages:
        print(f"parts that cannot be read: {found.damages}; --resume does their work again")
