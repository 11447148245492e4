"""The tuner of one loss: proposes settings in rounds and learns from their values. The only file with Optuna."""

import copy
import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
from optuna.storages.journal import JournalFileBackend

from lossearch.primitives.catalog.loss import Hyperparameter
from lossearch.primitives.errors import shown
from lossearch.results.statistics.intervals import mean
from lossearch.results.storage.atomic import set_aside, write_whole
from lossearch.results.storage.run_files import MAX_JOURNAL, MAX_LINE, read_run_file

#: Share of the settings that are spread over the ranges, before values guide the rest.
SPREAD = 0.5

#: Errors of Optuna for JSON that it did not write.
_NOT_OPTUNAS = (
    *(KeyError, TypeError, ValueError, IndexError, AttributeError, AssertionError, OverflowError, RecursionError),
    optuna.exceptions.OptunaError,
)

#: Significant digits of a setting: more would only look precise.
DIGITS = 4


@dataclass
class SettingTrial:
    """Settings by name, and their value under each seed so far; None if a training failed.

    ``is_open`` settings are to be trained under another seed.
    """

    trial: optuna.Trial
    settings: dict[str, float]
    values: list[float | None] = field(default_factory=list)
    is_open: bool = True
    pruned: bool = False

    @property
    def value(self) -> float | None:
        """Mean over the seeds; None if a training failed."""
        finished = [value for value in self.values if value is not None]
        return mean(finished) if finished and len(finished) == len(self.values) else None


class Tuner:
    """Proposes up to ``trials`` settings of the hyper-parameters, the defaults first.

    Values are noisy: a Gaussian process that expects noise (Optuna's GPSampler) proposes the second half. Settings
    below the median under the seeds that they have are pruned: they get no more seeds.
    """

    def __init__(self, hyperparameters: Sequence[Hyperparameter], trials: int, seed: int) -> None:
        self._left, self.trials = trials, list[SettingTrial]()
        self._space = {hyperparameter.name: _make_distribution(hyperparameter) for hyperparameter in hyperparameters}
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # we warn ourselves
        sampler = optuna.samplers.GPSampler(
            seed=seed, n_startup_trials=math.ceil(SPREAD * trials), deterministic_objective=False
        )
        pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0)
        self._study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        self._defaults = {hyperparameter.name: hyperparameter.default for hyperparameter in hyperparameters}
        self._study.enqueue_trial(self._defaults)

    def seeks_more_than(self, name: str) -> bool:
        """Return True if there is a hyper-parameter other than this one."""
        return bool(self._space.keys() - {name})

    def ask(self, max_settings: int) -> None:
        """Open up to ``max_settings`` new settings, while any are left."""
        num_new = min(max_settings, self._left)
        for _ in range(num_new):
            trial = self._study.ask(self._space)
            rounded = {name: float(f"{value:.{DIGITS}g}") for name, value in trial.params.items()}
            self.trials.append(SettingTrial(trial, self._defaults if trial.number == 0 else rounded))
        self._left -= num_new

    def open_settings(self) -> list[dict[str, float]]:
        """Return the settings that are to be trained under one more seed."""
        return [trial.settings for trial in self.trials if trial.is_open]

    def report(self, values: Sequence[float | None], is_last: bool) -> None:
        """Take in the values of the open settings under a seed, in their order; None for one that failed.

        After the last seed no settings stay open.
        """
        reported = [trial for trial in self.trials if trial.is_open]
        for trial, value in zip(reported, values, strict=True):
            trial.values.append(value)
            if trial.value is not None:
                trial.trial.report(trial.value, step=len(trial.values))
        for trial in reported:
            if trial.value is None or is_last or trial.trial.should_prune():
                trial.is_open, trial.pruned = False, trial.value is not None and not is_last
        for trial in reported:
            if not trial.is_open:  # pruned settings teach the sampler as well, which expects noise
                failed = optuna.trial.TrialState.FAIL if trial.value is None else None
                self._study.tell(trial.trial, trial.value, state=failed)

    def keep(self, file: Path, name: str) -> None:
        """Write the study into a journal that Optuna and its dashboard read. It replaces one of the same name.

        Set a journal that Optuna cannot read aside, with a warning. Optuna works on a copy in a folder of its own: it
        would follow a link in the place of the journal, and of the lock beside it.
        """
        with TemporaryDirectory(prefix="lossearch-") as folder:
            copied = Path(folder) / "studies.journal"
            copied.write_bytes(_read_whole_journal(file))
            try:
                self._keep(copied, name)
            except _NOT_OPTUNAS as error:
                _set_journal_aside(file, f"it is not Optuna's ({shown(repr(error))})")
                copied.write_bytes(b"")
                self._keep(copied, name)
            write_whole(file, copied.read_bytes())

    def _keep(self, file: Path, name: str) -> None:
        journal = optuna.storages.JournalStorage(JournalFileBackend(str(file)))
        if name in optuna.get_all_study_names(journal):
            optuna.delete_study(study_name=name, storage=journal)
        study = optuna.create_study(study_name=name, storage=journal, direction="maximize")
        pruned = {trial.trial.number for trial in self.trials if trial.pruned}
        for trial in map(copy.copy, self._study.trials):
            if trial.number in pruned:
                trial.state = optuna.trial.TrialState.PRUNED
            study.add_trial(trial)

    def best(self) -> SettingTrial:
        """Return the settings with the highest value under every seed, the first of equals.

        If all failed, these are the defaults.
        """
        return max(self.trials, key=lambda trial: -math.inf if trial.value is None or trial.pruned else trial.value)


def _read_whole_journal(journal: Path) -> bytes:
    """Read a journal; nothing if there is none. Rename one that holds a line of broken JSON."""
    try:
        content = read_run_file(journal, MAX_JOURNAL)
    except FileNotFoundError:
        return b""
    if all(map(_is_json, content.splitlines(keepends=True))):
        return content
    _set_journal_aside(journal, "a line is damaged")
    return b""


def _set_journal_aside(journal: Path, reason: str) -> None:
    aside = set_aside(journal)
    warnings.warn(f"{journal}: {reason}. Set aside as {aside.name}; a new journal starts.", stacklevel=2)


def _is_json(line: bytes) -> bool:
    if len(line) > MAX_LINE:
        return False
    try:
        json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return False
    return line.endswith(b"\n")


def _make_distribution(hyperparameter: Hyperparameter) -> optuna.distributions.BaseDistribution:
    if hyperparameter.whole:
        return optuna.distributions.IntDistribution(
            int(hyperparameter.low), int(hyperparameter.high), log=hyperparameter.log
        )
    return optuna.distributions.FloatDistribution(hyperparameter.low, hyperparameter.high, log=hyperparameter.log)
