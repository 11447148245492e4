"""Tuning: the settings of one loss, asked for in rounds and told what they were worth. The only file with Optuna."""

import copy
import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import optuna
from optuna.storages.journal import JournalFileBackend

from lossearch.primitives.catalog.loss import Hyperparameter
from lossearch.results.statistics.intervals import mean

#: Share of the settings that are spread over the ranges, before those seen say where to look.
SPREAD = 0.5

#: Digits of a setting: more would only look precise.
DIGITS = 4


@dataclass
class Tried:
    """Settings by name, and what they were worth under each seed so far; None where a training failed.

    ``open`` are those that are to be trained under another seed.
    """

    trial: optuna.Trial
    settings: dict[str, float]
    values: list[float | None] = field(default_factory=list)
    open: bool = True
    pruned: bool = False

    @property
    def value(self) -> float | None:
        """The mean over the seeds; None where a training failed."""
        finished = [each for each in self.values if each is not None]
        return mean(finished) if finished and len(finished) == len(self.values) else None


class Tuner:
    """So many settings of some hyper-parameters; the defaults are the first of them.

    Values are noisy: a Gaussian process that expects noise (Optuna's GPSampler) proposes the second half. Settings that
    are behind the median under the seeds they have are pruned: they get no more seeds.
    """

    def __init__(self, hyperparameters: Sequence[Hyperparameter], trials: int, seed: int) -> None:
        self._left, self.tried = trials, list[Tried]()
        self._space = {each.name: _distribution(each) for each in hyperparameters}
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # warnings of ours are said by us
        sampler = optuna.samplers.GPSampler(
            seed=seed, n_startup_trials=math.ceil(SPREAD * trials), deterministic_objective=False
        )
        pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0)
        self._study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        self._defaults = {each.name: each.default for each in hyperparameters}
        self._study.enqueue_trial(self._defaults)

    def seeks_more_than(self, name: str) -> bool:
        """Whether there is another hyper-parameter than this one."""
        return bool(self._space.keys() - {name})

    def ask(self, wanted: int) -> None:
        """Open so many settings more, or as many as are left."""
        for _ in range(min(wanted, self._left)):
            trial = self._study.ask(self._space)
            rounded = {name: float(f"{value:.{DIGITS}g}") for name, value in trial.params.items()}
            self.tried.append(Tried(trial, self._defaults if trial.number == 0 else rounded))
        self._left -= min(wanted, self._left)

    def open(self) -> list[dict[str, float]]:
        """The settings that are to be trained under one more seed."""
        return [each.settings for each in self.tried if each.open]

    def tell(self, values: Sequence[float | None], last: bool) -> None:
        """What the open settings were worth under a seed, in their order; None for one that failed.

        After the ``last`` seed none stays open.
        """
        still_open = [each for each in self.tried if each.open]
        for tried, value in zip(still_open, values, strict=True):
            tried.values.append(value)
            if tried.value is not None:
                tried.trial.report(tried.value, step=len(tried.values))
        for tried in still_open:
            if tried.value is None or last or tried.trial.should_prune():
                tried.open, tried.pruned = False, tried.value is not None and not last
        for tried in still_open:
            if not tried.open:  # also what was pruned teaches the sampler, which expects noise
                failed = optuna.trial.TrialState.FAIL if tried.value is None else None
                self._study.tell(tried.trial, tried.value, state=failed)

    def keep(self, file: Path, name: str) -> None:
        """Add the study to a journal that Optuna and its dashboard read, in the place of one of the same name.

        A journal with a torn line is set aside with a warning: Optuna would read no further.
        """
        _set_aside_if_torn(file)
        journal = optuna.storages.JournalStorage(JournalFileBackend(str(file)))
        if name in optuna.get_all_study_names(journal):
            optuna.delete_study(study_name=name, storage=journal)
        kept = optuna.create_study(study_name=name, storage=journal, direction="maximize")
        pruned = {each.trial.number for each in self.tried if each.pruned}
        for trial in map(copy.copy, self._study.trials):
            if trial.number in pruned:
                trial.state = optuna.trial.TrialState.PRUNED
            kept.add_trial(trial)

    def best(self) -> Tried:
        """The settings that were worth most under every seed, the first of equals; the defaults where all failed."""
        return max(self.tried, key=lambda each: -math.inf if each.value is None or each.pruned else each.value)


def _set_aside_if_torn(journal: Path) -> None:
    """Rename a journal in which a line is no JSON."""
    if not journal.exists():
        return
    with open(journal, encoding="utf-8", errors="replace") as lines:
        if all(map(_is_json, lines)):
            return
    names = (f"{journal.name}.damaged{number or ''}" for number in count())
    aside = next(path for path in map(journal.with_name, names) if not path.exists())
    journal.replace(aside)
    warnings.warn(f"{journal}: a line is torn. Set aside as {aside.name}; a new one is begun.", stacklevel=2)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return line.endswith("\n")


def _distribution(each: Hyperparameter) -> optuna.distributions.BaseDistribution:
    if each.whole:
        return optuna.distributions.IntDistribution(int(each.low), int(each.high), log=each.log)
    return optuna.distributions.FloatDistribution(each.low, each.high, log=each.log)
