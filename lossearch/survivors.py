"""Survivors: the losses of a finished search that are worth tuning, and the known ones to hold them against."""

from dataclasses import dataclass

from lossearch.comparison import candidate_of
from lossearch.experiment import Experiment
from primitives.catalog import CATALOG
from primitives.constants import tunable_constants
from primitives.errors import UserError
from primitives.parser import parse
from primitives.terminals import TERMINALS
from results.leaderboard import Leaderboard
from results.leaderboard_rows import BASELINE


@dataclass(frozen=True)
class Survivor:
    """A loss that a search found: its rank, and its text as a comparison reads it."""

    rank: int
    loss: str


def survivors(board: Leaderboard, top: int) -> list[Survivor]:
    """The best losses of a run that are no known ones, best first; of those that differ by their numbers alone, one.

    Raises UserError where there is none.
    """
    known = {candidate_of(name).loss_id for name in CATALOG}
    found: list[Survivor] = []
    seen: set[tuple[str, str | None]] = set()
    for row in board.rows:
        if row.rank is None or len(found) == top:
            break
        shape = (str(tunable_constants(parse(row.formula))[0]), row.class_weights)
        if row.name is None and row.loss_id not in known and shape not in seen:
            seen.add(shape)
            learned = row.class_weights in (None, "learned")
            found.append(Survivor(row.rank, row.formula if learned else f"{row.formula} [{row.class_weights}]"))
    if not found:
        raise UserError(f"{board.path}: expected a loss that was found and trained to the end, got none.")
    return found


def suitable_baselines(experiment: Experiment) -> list[str]:
    """Losses of the literature that look at nothing which a task of the experiment cannot give, cross-entropy first.

    Losses that a search discovered are none of them: the search that found one would be held against its own find.
    """
    gives = [experiment.task_named(name).gives for name in experiment.tasks]
    terminals = TERMINALS.keys()
    literature = [loss for loss in CATALOG.values() if loss.origin == "literature"]
    names = [loss.name for loss in literature if all(loss.formula.names & terminals <= each for each in gives)]
    return sorted(names, key=lambda name: name != BASELINE)
