"""Survivors: the losses of a finished search that are worth tuning, and the known losses to compare them with."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
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

#: Known losses that a search's are compared with. Discovered losses are left out: a search may find them again.
LITERATURE = [loss for loss in CATALOG.values() if loss.origin == "literature"]

#: Losses whose gradients are compared in one go.
_BATCH = 64

#: A formula with names in place of its numbers, and the kind of its class weights.
Shape = tuple[str, str | None]


@dataclass(frozen=True)
class Survivor:
    """A loss that a search found: its rank, and its text as a comparison reads it."""

    rank: int
    loss: str


def survivors(board: Leaderboard, top: int) -> list[Survivor]:
    """Return the best losses of a run, best first, without known losses and without near copies of better ones.

    A known loss with other numbers is a known loss: tuning would give it the same numbers. Likewise, losses that
    differ by their numbers alone count once. Raises UserError if there is none.
    """
    chosen: list[Survivor] = []
    chosen_directions: dict[str | None, list[torch.Tensor]] = {}
    candidates = _find_losses_of_new_shapes(board)
    while len(chosen) < top and (batch := list(islice(candidates, _BATCH))):
        batch_directions = directions([formula for _, formula, _ in batch])
        for (survivor, _, class_weights), direction in zip(batch, batch_directions, strict=True):
            of_kind = chosen_directions.setdefault(class_weights, [])
            if len(chosen) < top and all(float(direction @ better) < NEARLY for better in of_kind):
                of_kind.append(direction)
                chosen.append(survivor)
    if not chosen:
        raise UserError(
            f"{board.path}: expected a loss that is no known one and was trained to the end, got none. Search for more "
            "generations, or with a larger population."
        )
    return chosen


def _find_losses_of_new_shapes(board: Leaderboard) -> Iterator[tuple[Survivor, Formula, str | None]]:
    """Yield the best loss of each shape that no known loss has, with formula and class weights, best first."""
    shapes = set(_list_known_shapes())
    for row in board.rows:
        if row.rank is None:
            return
        formula = parse(row.formula)
        shape = _find_shape(formula, row.class_weights)
        if row.name is None and shape not in shapes:
            shapes.add(shape)
            is_plain = row.class_weights in (None, "learned")
            text = row.formula if is_plain else f"{row.formula} [{row.class_weights}]"
            yield Survivor(row.rank, text), formula, row.class_weights


def _find_shape(formula: Formula, class_weights: str | None) -> Shape:
    return str(tunable_constants(formula)[0]), class_weights


@cache
def _list_known_shapes() -> frozenset[Shape]:
    """Return the shapes of known losses, as written and in the canonical form that a search's losses have."""
    known = [candidate_of(loss.name) for loss in LITERATURE]
    written = [(parse(candidate.formula), candidate.class_weights) for candidate in known]
    return frozenset(_find_shape(form, kind) for formula, kind in written for form in (formula, canonical(formula)))


def suitable_baselines(experiment: Experiment) -> list[str]:
    """Return the losses of the literature whose inputs all tasks of the experiment can give, cross-entropy first."""
    gives = [experiment.task_named(name).gives for name in experiment.tasks]
    terminals = TERMINALS.keys()
    names = [loss.name for loss in LITERATURE if all(loss.formula.names & terminals <= given for given in gives)]
    return sorted(names, key=lambda name: name != BASELINE)
