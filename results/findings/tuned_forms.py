"""The tuned form of a loss of a run: the numbers and the learning rate that tuning chose, the factor measured with
them, and the verdicts on them.

Invariant: a loss is recognised by its formula and its class weights, never by its rank, which changes when a search
goes on. So no loss gets the verdict or the numbers of another one.
"""

import math
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from lossearch.primitives.errors import UserError
from lossearch.primitives.language.parser import parse
from lossearch.results.findings.table_text import in_words
from lossearch.results.findings.tuned_losses import FILE, TunedLoss, read_settings, read_tuned
from lossearch.results.findings.verdict_table import read_verdicts, scene_folder
from lossearch.results.findings.verdicts import Verdict
from lossearch.results.records import Measurement
from lossearch.results.statistics.intervals import mean
from lossearch.results.storage.store import RecordStore
from lossearch.results.storage.tables import DamagedFile, NewerFile

Record = TypeVar("Record")

#: Name of the scene on a search's own task.
OWN = "own"

#: Names of tasks that are also names of folders.
_TASK = re.compile(r"[A-Za-z0-9_-]{1,100}")

#: The end of a training's label: steps x batch size, learning rate, momentum and what differs from the defaults.
_LABEL = re.compile(r"(\d+)x(\d+)-lr(\d[\d.]*(?:e[-+]?\d+)?)-m(\d[\d.]*(?:e[-+]?\d+)?)((?:-[\w.+]+)*)")

#: A formula, and its class weights.
LossKey = tuple[str, str]


@dataclass(frozen=True)
class TunedForm:
    """A loss with the numbers that tuning chose on one task, and what was measured with them."""

    loss: str  #: formula as the search found it, or the name of a known loss
    task: str  #: task that the numbers were chosen on
    formula: str  #: formula with these numbers
    settings: tuple[str, ...]  #: ``name=value`` of each setting; empty where the file of the tuning is gone
    learning_rate: float | None  #: of the first step; None if no record has it
    calibration: float | None  #: factor measured with these numbers; None if no record has it
    fidelity: str | None  #: the training with this learning rate; None if no record has it
    value: float | None  #: mean metric on the validation split, under seeds that chose no settings
    verdicts: tuple[Verdict, ...] = field(default=())  #: on this form, one for each scene; empty if it was not judged

    def settings_by_name(self) -> dict[str, float]:
        """Return the settings as numbers. Raises UserError where one is no finite number."""
        return read_settings(self.settings, self.loss)

    @property
    def verdict(self) -> Verdict | None:
        """Verdict on the task that the numbers were chosen on; None if the form was not judged."""
        return next((line for line in self.verdicts if (line.scene, line.task) == (OWN, self.task)), None)


class TunedForms:
    """The tuned and the judged losses of a run, read from its directory. Losses and verdicts are read once.

    What a damaged file holds is left out. ``problems`` names it. Raises ForeignFile where a link stands for a file.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self._problems: dict[str, None] = {}

    def unreadable(self) -> list[str]:
        """Say which of the two files of tuned losses and verdicts cannot be read."""
        _ = self.tuned, self.verdicts  # reads them
        return list(self._problems)

    def problems(self) -> list[str]:
        """Name the files of tuning and of verdicts that cannot be read, and those that no run writes there."""
        found = dict.fromkeys(self.unreadable())
        folders = [self.run / "tuning" / "tuning"]
        with suppress(OSError):
            folders += sorted(folder / "measurements" for folder in (self.run / "verdict").iterdir() if folder.is_dir())
        for folder in folders:
            store = RecordStore(folder, Measurement)
            found |= dict.fromkeys(_describe_left_out(damage.reason) for damage in store.open()[1])
            foreign = store.describe_foreign()
            found |= {} if foreign is None else {foreign: None}
        return list(found)

    def _read(self, read: Callable[[], list[Record]]) -> list[Record]:
        """Read the records of a file; none, and a problem, where it cannot be read."""
        try:
            return read()
        except (DamagedFile, NewerFile) as error:
            self._problems[_describe_left_out(str(error))] = None
            return []

    @cached_property
    def tuned(self) -> list[TunedLoss]:
        """The tuned losses as they are on file; none for a run that was not tuned."""
        folder = self.run / "tuning"
        return self._read(lambda: read_tuned(folder) if (folder / FILE).exists() else [])

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """All verdicts of the run; none for a run that was not judged."""

        def read() -> list[Verdict]:
            table = read_verdicts(self.run / "verdict")
            return [] if table is None else table.lines

        return self._read(read)

    def judged(self) -> list[LossKey]:
        """Return the losses that were judged on the search's own tasks, best first.

        A loss that is better than every baseline comes first; on several tasks, one that is so on more of them. Next is
        the order of judging, best on the validation split first. A loss with a failed training comes last. The means of
        the test split play no part: what they chose, they would flatter.
        """
        by_loss: dict[LossKey, list[Verdict]] = {}
        for line in self.verdicts:
            if line.scene == OWN:
                by_loss.setdefault(key_of(line.loss), []).append(line)
        return sorted(by_loss, key=lambda loss: _standing(by_loss[loss]))

    def found(self) -> list[LossKey]:
        """Return the losses of the search that were tuned, best on the validation split first; the failed ones last."""
        values: dict[LossKey, list[float]] = {}
        for loss in self.tuned:
            if loss.kind == "found":
                values.setdefault(key_of(loss.loss), []).append(-math.inf if loss.value is None else loss.value)
        return sorted(values, key=lambda key: -mean(values[key]))

    def form_of(self, loss: LossKey, name: str | None = None) -> TunedForm | None:
        """Return the judged form of a loss, else its tuned form; None if it was neither judged nor tuned.

        ``name`` is that of a known loss, under which it was tuned. On several tasks the form is that of the first one,
        which is the first of the experiment: each task has numbers of its own.
        """
        verdicts = [line for line in self.verdicts if key_of(line.loss) == loss]
        own = next((line for line in verdicts if line.scene == OWN), None)
        if own is not None:
            return self._judged_form(own, verdicts)
        # A loss of the search stands before the same loss as the best of the random search.
        tuned = [record for record in self.tuned if record.loss == name or key_of(record.loss) == loss]
        return self._tuned_form(min(tuned, key=lambda record: record.kind != "found")) if tuned else None

    def _judged_form(self, own: Verdict, verdicts: Iterable[Verdict]) -> TunedForm:
        """Return the form that was judged, which an older or newer tuning may not have."""
        kind = key_of(own.loss)[1]
        of_form = [tuned for tuned in self.tuned if (tuned.task, tuned.formula) == (own.task, own.formula)]
        tuned_loss = next((tuned for tuned in of_form if key_of(tuned.loss) == key_of(own.loss)), None)
        measured = self._measured("verdict", scene_folder(OWN, own.task), "measurements", own.task, own.formula, kind)
        measured = [measurement for measurement in measured if measurement.fidelity == own.fidelity]
        of_tuning = [] if _has_factor(measured) else self._trials(own.task, own.formula, kind)
        rate = next((record.learning_rate for record in measured if record.learning_rate is not None), None)
        if rate is None and tuned_loss is not None:
            rate = tuned_loss.settings_by_name().get("learning_rate")
        return TunedForm(
            loss=own.loss,
            task=own.task,
            formula=own.formula,
            settings=() if tuned_loss is None else tuned_loss.settings,
            learning_rate=rate,
            calibration=_find_factor([*measured, *of_tuning]),
            fidelity=own.fidelity,
            value=None if tuned_loss is None else tuned_loss.value,
            verdicts=tuple(line for line in verdicts if line.formula == own.formula),
        )

    def _tuned_form(self, record: TunedLoss) -> TunedForm:
        rate = record.settings_by_name().get("learning_rate")
        trials = self._trials(record.task, record.formula, _class_weights_of(record))
        trials = [trial for trial in trials if trial.learning_rate in (None, rate)]
        return TunedForm(
            loss=record.loss,
            task=record.task,
            formula=record.formula,
            settings=record.settings,
            learning_rate=rate,
            calibration=_find_factor(trials),
            fidelity=trials[0].fidelity if trials else None,
            value=record.value,
        )

    def _trials(self, task: str, formula: str, class_weights: str | None) -> list[Measurement]:
        return self._measured("tuning", "", "tuning", task, formula, class_weights)

    def _measured(
        self, study: str, scene: str, store: str, task: str, formula: str, class_weights: str | None
    ) -> list[Measurement]:
        """Read the measurements of one form on a task. Any class weights will do where they are not known (None)."""
        if not _TASK.fullmatch(task):  # text of a stranger's run names no folder
            return []
        columns, _ = RecordStore(self.run / study / scene / store, Measurement).open()
        places = (columns.equals("formula", formula) & columns.equals("task", task)).nonzero()[0]
        return [
            measurement
            for measurement in columns.records(places)
            if class_weights in (None, measurement.class_weights or "learned")
        ]


def _describe_left_out(reason: str) -> str:
    return f"{reason.rstrip('.')}. What it holds is left out."


def key_of(loss: str) -> LossKey:
    """Return the formula and the class weights of a loss as a study names it: ``ce(cosine) [pedcc]``."""
    match = re.fullmatch(r"(.*\S) \[(\w+)\]", loss, re.DOTALL)
    return loss_key(match[1], match[2]) if match else loss_key(loss, None)


def loss_key(formula: str, class_weights: str | None) -> LossKey:
    """Return what identifies a loss: the text of its formula and its class weights. None stands for learned ones."""
    try:
        text = str(parse(formula))
    except UserError:  # the name of a known loss, or text of a stranger's run
        text = formula
    return text, class_weights or "learned"


def training_text(form: TunedForm) -> str:
    """Describe the training with the tuned learning rate: its rate, optimiser, schedule and length."""
    if form.learning_rate is None:
        return "at a learning rate that no record of the run holds"
    text, label = f"with learning rate {form.learning_rate:g}", form.fidelity or ""
    match = _LABEL.search(label)
    if match is None:
        return f"{text}, from the record" + (f" ({label})" if label else "")
    steps, batch, _, momentum, more = match.groups()
    parts = more.split("-")[1:]
    optimizer = "Adam" if "adam" in parts else f"SGD with momentum {momentum}"
    schedules = {"constant": "constant", "plateau": "lowered at each plateau", "step": "lowered at milestones"}
    known = [schedule for name, schedule in schedules.items() for part in parts if part.startswith(name)]
    schedule = known[0] if known else "falling along a cosine"
    return f"{text} of {optimizer}, {schedule}, in {steps} steps of {batch} samples, from the record ({label})"


def verdict_text(line: Verdict) -> str:
    """Return a verdict in one sentence, without the full stop."""
    scene = f"its own task, {line.task}" if line.scene == OWN else f"{line.scene}, {line.task}"
    text = f"{scene}: {line.verdict}; {line.why}"
    if line.difference is not None and line.closest is not None:
        text += f". Difference to {line.closest} {line.difference:+.4f} ({in_words(line.interval)}), "
        text += f"{line.seeds} seeds, test split"
    return text


def _standing(own: Iterable[Verdict]) -> tuple[bool, int]:
    outcomes = [line.verdict for line in own]
    return "failed" in outcomes, -outcomes.count("better than every baseline")


def _class_weights_of(record: TunedLoss) -> str | None:
    """Return the class weights of a tuned loss; None for a known loss, whose name implies them."""
    return None if record.kind == "baseline" else key_of(record.loss)[1]


def _has_factor(measured: Iterable[Measurement]) -> bool:
    return any(measurement.calibration is not None for measurement in measured)


def _find_factor(measured: Iterable[Measurement]) -> float | None:
    """Return the factor of the last seed that has one. It depends on loss and task, so all seeds have the same."""
    with_factor = [record for record in measured if record.calibration is not None and record.calibration > 0.0]
    return max(with_factor, key=lambda record: record.seed).calibration if with_factor else None
