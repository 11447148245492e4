"""Tuning: the settings of one loss, asked for in rounds and told what they were worth. The only file with Optuna."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.storages.journal import JournalFileBackend

from primitives.loss import Hyperparameter

#: Share of the settings that are spread over the ranges, before those seen say where to look.
SPREAD = 0.5

#: Digits of a setting: more would only look precise.
DIGITS = 4


@dataclass(frozen=True)
class Tried:
    """Settings by name, and what they were worth: a mean over seeds, or None where a training failed."""

    settings: dict[str, float]
    value: float | None


class Tuner:
    """So many settings of some hyper-parameters; the defaults are the first of them.

    Values are noisy: a Gaussian process that expects noise (Optuna's GPSampler) proposes the second half.
    """

    def __init__(self, hyperparameters: Sequence[Hyperparameter], trials: int, seed: int) -> None:
        self._left, self.tried = trials, list[Tried]()
        self._space = {each.name: _distribution(each) for each in hyperparameters}
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # warnings of ours are said by us
        sampler = optuna.samplers.GPSampler(
            seed=seed, n_startup_trials=math.ceil(SPREAD * trials), deterministic_objective=False
        )
        self._storage = optuna.storages.InMemoryStorage()
        self._study = optuna.create_study(storage=self._storage, direction="maximize", sampler=sampler)
        self._defaults = {each.name: each.default for each in hyperparameters}
        self._study.enqueue_trial(self._defaults)
        self._open: list[tuple[optuna.Trial, dict[str, float]]] = []

    def ask(self, count: int) -> list[dict[str, float]]:
        """So many settings more, or as many as are left."""
        for _ in range(min(count, self._left)):
            trial = self._study.ask(self._space)
            rounded = {name: float(f"{value:.{DIGITS}g}") for name, value in trial.params.items()}
            self._open.append((trial, self._defaults if trial.number == 0 else rounded))
        self._left -= min(count, self._left)
        return [settings for _, settings in self._open]

    def tell(self, values: Sequence[float | None]) -> None:
        """What the settings asked for were worth, in their order; None for one that failed."""
        for (trial, settings), value in zip(self._open, values, strict=True):
            failed = optuna.trial.TrialState.FAIL if value is None else None
            self._study.tell(trial, value, state=failed)
            self.tried.append(Tried(settings, value))
        self._open = []

    def keep(self, file: Path, name: str) -> None:
        """Add the study to a journal that Optuna and its dashboard read, in the place of one of the same name."""
        journal = optuna.storages.JournalStorage(JournalFileBackend(str(file)))
        if name in optuna.get_all_study_names(journal):
            optuna.delete_study(study_name=name, storage=journal)
        optuna.copy_study(
            from_study_name=self._study.study_name, from_storage=self._storage, to_storage=journal, to_study_name=name
        )

    def best(self) -> dict[str, float]:
        """The settings that were worth most, the first of equals; the defaults where all failed."""
        return max(self.tried, key=lambda each: -math.inf if each.value is None else each.value).settings


def _distribution(each: Hyperparameter) -> optuna.distributions.BaseDistribution:
    if each.whole:
        return optuna.distributions.IntDistribution(int(each.low), int(each.high), log=each.log)
    return optuna.distributions.FloatDistribution(each.low, each.high, log=each.log)
