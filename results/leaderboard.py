"""The leaderboard: one row a loss, derived from the evaluations and always rebuildable from them."""

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from primitives.errors import UserError
from results.records import Evaluation
from results.statistics import mean, noise_of_a_difference, paired_differences, spread

if TYPE_CHECKING:
    from primitives.formula import Formula
    from primitives.torch_loss import FormulaLoss
    from results.exportable import Exportable
    from results.store import Damage
    from results.trial_record import Trial

BASELINE = "cross_entropy"

#: Stopped is a candidate that was trained to a rung, and so far no longer.
RowStatus = Literal["evaluated", "stopped", "failed", "rejected", "duplicate"]


@dataclass(frozen=True)
class Row:
    """One loss. Losses that were not evaluated to the end on every task have no rank and no fitness.

    The fitness is that of full trainings alone, so that all of the column can be compared. Where the run has several
    tasks, it is the mean over them.
    """

    rank: int | None  #: 1 is best: by mean fitness, then by complexity
    loss_id: str
    name: str | None  #: of a known loss
    class_weights: str | None  #: learned, pedcc or sub_centers; null for a loss over logits
    formula: str
    complexity: int  #: nodes of the formula
    task: str  #: its name, or those of several
    fitness_by_task: tuple[str, ...]  #: where there are several: the name of each and the mean fitness there
    fidelity: str
    steps: int | None  #: optimiser steps of the longest training; null where none was, and in old files
    status: RowStatus
    seeds: int  #: finished trainings
    metric: str  #: what fitness is: accuracy, verification accuracy or mean IoU
    fitness_mean: float | None  #: of the metric on the validation split, in [0, 1]
    fitness_std: float | None  #: standard deviation over the seeds
    difference_to_cross_entropy: float | None  #: mean of the differences under the same seeds
    pareto: bool  #: no other loss is both at least as good and at most as complex
    calibration: float | None  #: factor that gives the loss cross-entropy's first gradient size, on one task
    generation: int
    birth: str
    parents: tuple[str, ...]  #: loss ids
    duplicates: int  #: how often a candidate that trains alike was born again
    reason: str | None
    seconds: float | None  #: of training, over all seeds
    finished_at: str | None  #: of the last training, UTC


def leaderboard_rows(evaluations: Iterable[Evaluation]) -> list[Row]:
    """Rows of the evaluations, best first, those without a rank last in the order of their birth."""
    by_loss = _by_loss(evaluations)
    tasks = tasks_of(each for group in by_loss.values() for each in group)
    baseline = fitness_by_seed(_baseline(by_loss), tasks)
    rows = [_row(group, baseline, tasks) for group in by_loss.values()]
    ranked = sorted((row for row in rows if row.fitness_mean is not None), key=_best_first)
    numbered = [replace(row, rank=rank) for rank, row in enumerate(_with_pareto(ranked), 1)]
    return numbered + [row for row in rows if row.fitness_mean is None]


def difference_noise(evaluations: Iterable[Evaluation]) -> float | None:
    """Standard error of one loss's difference to cross-entropy, pooled over the better half of the losses.

    The worse half is left out: what scarcely trains varies more than what a reader would choose.
    """
    by_loss = _by_loss(evaluations)
    tasks = tasks_of(each for group in by_loss.values() for each in group)
    baseline = _baseline(by_loss)
    theirs = fitness_by_seed(baseline, tasks)
    others = [fitness_by_seed(group, tasks) for group in by_loss.values() if group is not baseline]
    others = sorted((each for each in others if each), key=lambda fitness: -mean(fitness.values()))
    better = others[: (len(others) + 1) // 2]
    return noise_of_a_difference(paired_differences(fitness, theirs) for fitness in better)


def tasks_of(evaluations: Iterable[Evaluation]) -> list[str]:
    """The tasks that losses were trained on."""
    return list(dict.fromkeys(each.task for each in evaluations if each.seed is not None))


def _by_loss(evaluations: Iterable[Evaluation]) -> dict[str, list[Evaluation]]:
    found: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        found.setdefault(evaluation.loss_id, []).append(evaluation)
    return found


def _baseline(by_loss: Mapping[str, list[Evaluation]]) -> list[Evaluation]:
    """The evaluations of cross-entropy."""
    return next((group for group in by_loss.values() if any(each.name == BASELINE for each in group)), [])


def _row(group: list[Evaluation], baseline: dict[int, float], tasks: Sequence[str]) -> Row:
    first = next((each for each in group if each.status != "duplicate"), group[0])
    failed = next((each for each in group if each.status in ("failed", "rejected")), None)
    longest = max(group, key=lambda each: each.steps or 0)
    fitness = fitness_by_seed(group, tasks)
    complete = bool(fitness) and failed is None
    stopped = not fitness and failed is None and longest.at_a_rung
    differences = paired_differences(fitness, baseline) if complete else []
    seconds = [each.seconds for each in group if each.seconds is not None]
    return Row(
        rank=None,
        loss_id=first.loss_id,
        name=first.name,
        class_weights=first.class_weights,
        formula=first.formula,
        complexity=first.complexity,
        task=" + ".join(tasks) or first.task,
        fitness_by_task=tuple(_on_each(group, tasks)) if complete and len(tasks) > 1 else (),
        fidelity=" + ".join(dict.fromkeys(_longest(group, task).fidelity for task in _trained_on(group, tasks)))
        or longest.fidelity,
        steps=longest.steps,
        status="evaluated" if complete else "stopped" if stopped else (failed or first).status,
        seeds=len(fitness),
        metric=_metric(group),
        fitness_mean=mean(fitness.values()) if complete else None,
        fitness_std=spread(fitness.values()) if complete else None,
        difference_to_cross_entropy=mean(differences) if differences else None,
        pareto=False,
        calibration=first.calibration if len(tasks) == 1 else None,
        generation=first.generation,
        birth=first.birth,
        parents=first.parents,
        duplicates=sum(each.status == "duplicate" for each in group),
        reason=None if complete else _stopped(group, longest) if stopped else (failed or first).reason,
        seconds=sum(seconds) if seconds else None,
        finished_at=max((each.finished_at for each in group if each.finished_at), default=None),
    )


def fitness_by_seed(group: Iterable[Evaluation], tasks: Collection[str]) -> dict[int, float]:
    """Fitness of the full trainings under each seed, the mean over the tasks; none where one of them is missing."""
    found: dict[int, dict[str, float]] = {}
    for each in group:
        if not each.at_a_rung and each.seed is not None and each.fitness is not None:
            found.setdefault(each.seed, {})[each.task] = each.fitness
    return {seed: mean(on_each.values()) for seed, on_each in found.items() if len(on_each) == len(tasks)}


def _on_each(group: Sequence[Evaluation], tasks: Sequence[str]) -> Iterator[str]:
    for task in tasks:
        own = fitness_by_seed([each for each in group if each.task == task], [task])
        yield f"{task} {mean(own.values()):.4f}"


def _trained_on(group: Sequence[Evaluation], tasks: Sequence[str]) -> list[str]:
    """The tasks that a loss has evaluations on."""
    return [task for task in tasks if any(each.task == task for each in group)]


def _longest(group: Sequence[Evaluation], task: str) -> Evaluation:
    return max((each for each in group if each.task == task), key=lambda each: each.steps or 0)


def _metric(group: Sequence[Evaluation]) -> str:
    """The metric of the fitness, or that it is a mean of several."""
    metrics = {each.metric or "accuracy" for each in group}
    return metrics.pop() if len(metrics) == 1 else "mean of metrics"


def _stopped(group: Sequence[Evaluation], longest: Evaluation) -> str:
    """How far a candidate was trained, and how it stood there."""
    there = [each.fitness for each in group if each.steps == longest.steps and each.fitness is not None]
    return (
        f"trained to a rung: {longest.steps} of {longest.full_steps} steps, with a fitness of {mean(there):.4f} there"
    )


def _best_first(row: Row) -> tuple[Any, ...]:
    assert row.fitness_mean is not None
    return -row.fitness_mean, row.complexity, row.loss_id


def _with_pareto(ranked: list[Row]) -> Iterator[Row]:
    """The rows, best first, with a mark on each that is simpler than all before it."""
    simplest = None
    for row in ranked:
        yield replace(row, pareto=simplest is None or row.complexity < simplest)
        simplest = row.complexity if simplest is None else min(row.complexity, simplest)


class Entry:
    """One row of a leaderboard: its columns as attributes, its formula, its loss module, its export."""

    def __init__(self, row: Row, run: str, board: "Leaderboard | None" = None) -> None:
        self.row = row
        self.board = board
        self._run = run

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("row", "board"):  # asked for before it is there, by copy and pickle
            raise AttributeError(name)
        return getattr(self.row, name)

    def __repr__(self) -> str:
        fitness = "no fitness" if self.row.fitness_mean is None else f"fitness {self.row.fitness_mean:.4f}"
        return f"<{self.row.loss_id} {self.row.formula!r}: {fitness}>"

    @property
    def formula(self) -> "Formula":
        """The formula, parsed from the row's text."""
        from primitives.parser import parse

        return parse(self.row.formula)

    def loss(
        self,
        *,
        num_classes: int | None = None,
        embedding_size: int | None = None,
        calibrated: bool = True,
        **options: Any,
    ) -> "FormulaLoss":
        """The loss as a torch module.

        ``calibrated`` multiplies it by the factor of its evaluation: as in the search, it then trains at the learning
        rate that suits cross-entropy. Without it the value is the formula's.
        """
        from primitives.torch_loss import loss_module

        scale = self.row.calibration if calibrated and self.row.calibration else 1.0
        if self.row.class_weights is not None:
            options.setdefault("class_weights", self.row.class_weights)
        return loss_module(self.formula, num_classes=num_classes, embedding_size=embedding_size, scale=scale, **options)

    def export(self, path: str | Path) -> Path:
        """Write the loss as a Python file that needs torch alone; returns its path.

        An existing file is replaced. ``lossearch.export`` has more formats, and a model card.
        """
        from results.export import write_export

        return write_export(Path(path), self.exportable())

    def exportable(self) -> "Exportable":
        """What the loss is exported from: names for its numbers, and the facts about it."""
        from results.exportable import of_row

        return of_row(self.row, self._run, self.trial)

    @property
    def trial(self) -> "Trial | None":
        """How the loss did under fresh seeds, if its run tried it."""
        from results.trial_record import read_trial

        return None if self.board is None else read_trial(self.board.path / "log.jsonl", self.row.loss_id)


class NotARun(UserError, FileNotFoundError):
    """A path that is no run's directory."""

    __str__ = UserError.__str__


class Leaderboard:
    """The losses of a run, best first: ``board[0].formula``, ``board[0].export("my_loss.py")``.

    ``path`` is the run's directory. Parts that cannot be read are warned of, listed in ``damages`` and left out.
    Raises NotARun where the directory holds no run.
    """

    def __init__(self, path: str | Path) -> None:
        from results.store import EvaluationStore

        self.path = Path(path)
        if not (self.path / "evaluations").is_dir():
            raise NotARun(f"{path}: expected the directory of a run, with a folder named evaluations in it")
        self.damages: list[Damage]
        self.evaluations, self.damages = EvaluationStore(self.path / "evaluations").read()
        for damage in self.damages:
            warnings.warn(f"{damage.reason}. Its evaluations are left out.", stacklevel=2)
        self.rows = leaderboard_rows(self.evaluations)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<Leaderboard of {self.path}: {len(self)} losses>"

    @overload
    def __getitem__(self, index: int) -> Entry: ...

    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...

    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        rows = self.rows[index]
        run = self.path.resolve().name
        return [Entry(row, run, self) for row in rows] if isinstance(rows, list) else Entry(rows, run, self)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self[:])

    def calibrations(self, loss_id: str) -> dict[str, float]:
        """The factor that gives a loss cross-entropy's first gradient size on each task."""
        own = (each for each in self.evaluations if each.loss_id == loss_id)
        return {each.task: each.calibration for each in own if each.calibration is not None}

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as plain dictionaries."""
        return [asdict(row) for row in self.rows]

    def to_pandas(self) -> Any:
        """The rows as a pandas data frame."""
        from results.store import to_pandas

        return to_pandas(Row, self.rows)

    def write(self) -> Path:
        """Write ``leaderboard.parquet`` beside the evaluations; returns its path."""
        from results.store import write_records

        write_records(self.path / "leaderboard.parquet", Row, self.rows)
        return self.path / "leaderboard.parquet"
