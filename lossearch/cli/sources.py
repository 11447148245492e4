"""Reads arguments that several commands have: a run, a known loss, a formula, the executor."""

import os
import re
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from lossearch.cli.output import fail, say, say_warning

if TYPE_CHECKING:
    from lossearch.results.leaderboard import Leaderboard

#: A text with a slash, like a path. A formula may have one as well.
_LIKE_PATH = re.compile(r"[\w.~-]*(/[\w.-]*)+")


def board_of(run: Path, says_damages: bool = True) -> "Leaderboard":
    """Return the run's leaderboard. Name files that were left alone, and parts that cannot be read unless told not to.

    Without ``says_damages`` the caller reports damaged parts.
    """
    from lossearch.results.leaderboard import Leaderboard, describe_left_out

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        board = Leaderboard(run)
    if board.foreign is not None:
        say(f"note: {board.foreign}")
    for damage in board.damages if says_damages else ():
        say_warning(describe_left_out(damage))
    return board


def say_problems_of_findings(run: Path) -> None:
    """Name the files of tuning and verdicts that cannot be read or that no run writes, each in one line."""
    from lossearch.results.findings.tuned_forms import TunedForms

    for problem in TunedForms(run).problems():
        say_warning(problem)


def require_executor(executor: str | None, ray_address: str | None) -> None:
    """End the command if the address of a Ray cluster is malformed, or given with another executor."""
    if ray_address is None:
        return
    from lossearch.evaluators.executors.cluster_address import require_address

    if executor == "inline":
        fail("--ray-address: expected --executor ray with it, got inline", 2)
    require_address(ray_address)


def say_named_data(run: Path, file: str = "experiment.toml") -> None:
    """Say in one line which of the user's own data a run names and the command reads; nothing where it names none."""
    from lossearch.primitives.errors import UserError, shown
    from lossearch.runs.directory import named_data

    try:
        named = named_data(run / file)
    except (UserError, OSError):  # the command itself says what is wrong
        return
    if named:
        described = ", ".join(f"{shown(path, limit=1_000)} for {shown(task)}" for task, path in named.items())
        say(f"Data that {run} names, and that is read now: {described}")


def known_or_formula(source: str, hyperparameters: Collection[str] = ()) -> str:
    """Return the source. End the command if it is neither the name of a known loss nor like a formula."""
    from lossearch.primitives.catalog import ALIASES, CATALOG
    from lossearch.primitives.errors import nearest
    from lossearch.primitives.language.parser import parse, valid_name

    names = [*CATALOG, *ALIASES]
    if source in names:
        return source
    if not source.strip() or valid_name(source) or os.path.exists(source):
        advice = nearest(source, names) if valid_name(source) else ". lossearch losses lists the names"
        fail(f"{source!r}: expected the directory of a run, the name of a known loss or a formula{advice}", 2)
    if _LIKE_PATH.fullmatch(source):
        try:
            parse(source, hyperparameters)
        except ValueError:
            fail(f"{source}: expected the directory of a run; there is none of that name", 2)
    return source
