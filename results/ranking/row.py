"""The columns of a leaderboard: a row for each loss, derived from the evaluations and always rebuildable from them."""

from dataclasses import dataclass
from typing import Literal

from lossearch.results.records import takes_embeddings

#: Stopped is a candidate that was trained to a rung and so far no longer.
RowStatus = Literal["evaluated", "stopped", "failed", "rejected", "duplicate"]


@dataclass(frozen=True)
class Row:
    """One loss. A loss that was not evaluated to the end on every task has no rank and no fitness.

    Only full trainings count for the fitness, so that all values of the column can be compared. In a run with several
    tasks it is the mean over them.
    """

    rank: int | None  #: 1 is best: by mean fitness, then by complexity
    loss_id: str  #: identifies the formula, with its class weights
    name: str | None  #: name of a known loss
    class_weights: str | None  #: learned, pedcc or sub_centers; null for a loss over logits
    formula: str  #: canonical text, hyper-parameters as numbers
    complexity: int  #: nodes of the formula
    task: str  #: name of the task, or names of several
    fitness_by_task: tuple[str, ...]  #: if there are several tasks: the name of each and the mean fitness on it
    fidelity: str  #: amount of training: network, steps, batch size, learning rate
    steps: int | None  #: optimiser steps of the longest training; null if there was none, and in old files
    status: RowStatus  #: evaluated, stopped (at a rung), failed, rejected or duplicate
    seeds: int  #: number of finished trainings
    metric: str  #: metric of the fitness: accuracy, verification accuracy or mean IoU
    fitness_mean: float | None  #: mean of the metric on the validation split, in [0, 1]
    fitness_std: float | None  #: standard deviation over the seeds
    difference_to_cross_entropy: float | None  #: mean of the differences under the same seeds
    difference_low: float | None  #: lower end of the 95 % interval of that mean, Student's; null under three seeds
    difference_high: float | None  #: upper end of the interval
    pareto: bool  #: no other loss is both at least as good and at most as complex
    calibration: float | None  #: factor that gives the loss cross-entropy's first gradient size, on one task
    generation: int  #: generation of the birth, from 0
    birth: str  #: known, baseline, random, or a kind of variation, such as crossover
    parents: tuple[str, ...]  #: loss ids
    duplicates: int  #: births of candidates that train like this loss
    reason: str | None  #: why the loss has no rank
    seconds: float | None  #: seconds of training, over all seeds
    finished_at: str | None  #: end of the last training, UTC

    @property
    def over_embeddings(self) -> bool:
        """True if the loss takes embeddings and owns class weights, False if it takes logits."""
        return self.class_weights is not None or takes_embeddings(self.formula)  # old files lack the class weights
