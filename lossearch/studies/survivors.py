"""Survivors: the losses of a finished search that are worth tuning, and the known ones to hold them against."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch

from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.catalog.loss import tunable_constants
from lossearch.primitives.errors import UserError
from lossearch.primitives.identity.algebra import canonical
from lossearch.primitives.identity.kinship import NEARLY, directions
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.language.parser import parse
from lossearch.primitives.language.terminals import TERMINALS
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.records import BASELINE
from lossearch.runs.experiment import Experiment
from lossearch.runs.named_loss import candidate_of

#: Known losses that those of a search are held against. What a search discovered is none: it may be found again.
LITERATURE = [loss for loss in CATALOG.values() if loss.origin == "literature"]

#: Losses whose gradients are compared at once.
_AT_ONCE = 64

#: A formula with names in the place of its numbers, and where its class weights come from.
Shape = tuple[str, str | None]


@dataclass(frozen=True)
class Survivor:
    """A loss that a search found: its rank, and its text as a comparison reads it."""

    rank: int
    loss: str


def survivors(board: Leaderboard, top: int) -> list[Survivor]:
    """The best losses of a run that are no known ones and do not train nearly as a better one does, best first.

    A known loss with other numbers is a known one: tuning would give it the same. Likewise, of those that differ by
    their numbers alone there is one. Raises UserError where there is none.
    """
    found: list[Survivor] = []
    chosen: dict[str | None, list[torch.Tensor]] = {}
    left = _of_unseen_shapes(board)
    while len(found) < top and (some := list(islice(left, _AT_ONCE))):
        for (one, _, weights), direction in zip(some, directions([formula for _, formula, _ in some]), strict=True):
            better = chosen.setdefault(weights, [])
            if len(found) < top and all(float(direction @ each) < NEARLY for each in better):
                better.append(direction)
                found.append(one)
    if not found:
        raise UserError(
            f"{board.path}: expected a loss that is no known one and was trained to the end, got none. Search for more "
            "generations, or with a larger population."
        )
    return found


def _of_unseen_shapes(board: Leaderboard) -> Iterator[tuple[Survivor, Formula, str | None]]:
    """The first of each shape that no known loss has, with its formula and class weights, best first."""
    seen = _known_shapes()
    for row in board.rows:
        if row.rank is None:
            return
        formula = parse(row.formula)
        shape = _shape(formula, row.class_weights)
        if row.name is None and shape not in seen:
            seen.add(shape)
            learned = row.class_weights in (None, "learned")
            text = row.formula if learned else f"{row.formula} [{row.class_weights}]"
            yield Survivor(row.rank, text), formula, row.class_weights


def _shape(formula: Formula, class_weights: str | None) -> Shape:
    return str(tunable_constants(formula)[0]), class_weights


def _known_shapes() -> set[Shape]:
    """The shapes of known losses, as they are written and in the canonical form that those of a search have."""
    known = [candidate_of(loss.name) for loss in LITERATURE]
    written = [(parse(each.formula), each.class_weights) for each in known]
    return {_shape(form, kind) for formula, kind in written for form in (formula, canonical(formula))}


def suitable_baselines(experiment: Experiment) -> list[str]:
    """Losses of the literature that look at nothing which a task of the experiment cannot give, cross-entropy first."""
    gives = [experiment.task_named(name).gives for name in experiment.tasks]
    terminals = TERMINALS.keys()
    names = [loss.name for loss in LITERATURE if all(loss.formula.names & terminals <= each for each in gives)]
    return sorted(names, key=lambda name: name != BASELINE)
