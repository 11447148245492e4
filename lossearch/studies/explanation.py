"""Explaining: a loss is drawn, trained without its parts, and trained on wrong and few labels beside others.

Invariant: every network is measured on the validation split; the test split is not looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pydantic import Field

from lossearch.evaluators.executors.executor import Executor
from lossearch.evaluators.screening.screening import rejection
from lossearch.evaluators.training.attached_loss import loss_for
from lossearch.evaluators.training.calibration import calibration_factor
from lossearch.evaluators.training.outcome import TrainingFailed
from lossearch.evaluators.work import Candidate, Work, training_seed
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.identity.algebra import canonical
from lossearch.primitives.identity.kinship import nearest_known
from lossearch.primitives.language.formula import Formula, latex
from lossearch.primitives.language.parser import parse
from lossearch.results.findings.comparison import Line, comparison_lines
from lossearch.results.findings.curves import CurvePoint, Drawn, curves
from lossearch.results.findings.explanation import Explanation, Form, PartEffect
from lossearch.results.records import BASELINE, Measurement
from lossearch.runs.declaration import Declaration, ExecutorSettings, validate_as
from lossearch.runs.directory import Directory
from lossearch.runs.named_loss import named_loss
from lossearch.runs.views import ComparisonView
from lossearch.studies.ablation import Ablated, ablations, as_candidate, effect, simplified
from lossearch.studies.measuring import MeasurementRunner

# --- The directory of an explanation: what is explained, as declared, every measurement, and the files that follow.

#: Tasks without download that tell how a loss bears wrong labels and few of some classes.
BEHAVIOUR = ("digits", "digits_noisy_20", "digits_noisy", "digits_noisy_60", "digits_long_tail")


class ExplanationPlan(Declaration):
    """One loss, the tasks that it was found on, and the trainings that explain it, validated before anything runs."""

    loss: str = Field(description="canonical formula without free names")
    called: str | None = Field(None, description="its name, where it is a known loss")
    formula: str = Field(description="as it was found or given")
    class_weights: str | None = Field(None, description="learned, pedcc or sub_centers, of a loss over embeddings")
    rival: str | None = Field(None, description="a known loss beside cross-entropy, as a user names it")
    tasks: tuple[str, ...] = Field(min_length=1, description="whose parts are left out on")
    factor: float | None = Field(None, description="that a search trained it with")
    seeds: int = Field(10, ge=1, le=1_000, description="trainings of each loss, with other weights and batches")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of every random choice")
    executor: ExecutorSettings = Field(default_factory=ExecutorSettings)

    @property
    def all_tasks(self) -> tuple[str, ...]:
        """Those that it was found on, then those that its behaviour is seen on."""
        return (*self.tasks, *(task for task in BEHAVIOUR if task not in self.tasks))


class ExplanationDirectory(Directory[ExplanationPlan, Measurement]):
    """The directory of an explanation; what may change in it changes no training that it holds."""

    FILE, PARTS, FOLDERS, RECORD = "explanation.toml", "measurements", ("measurements",), Measurement
    FORCIBLE = ("called", "rival", "factor", "seeds")

    @classmethod
    def _may_change(cls, key: str, declared: ExplanationPlan) -> bool:
        """The number of seeds stands in every training as well."""
        return super()._may_change(key, declared) or (key.startswith("fidelity_of.") and key.endswith(".seeds"))

    @classmethod
    def validated(cls, declared: dict[str, Any], source: str) -> ExplanationPlan:
        """The plan of a dictionary. Raises ExperimentError."""
        tasks = declared.get("tasks")
        return validate_as(
            ExplanationPlan, declared | {"tasks": tuple(tasks) if isinstance(tasks, list) else tasks}, source
        )


#: The first seeds of ablations and behaviour, and of a simplified loss: searches, trials and tuning have others.
FRESH_SEEDS, SEEDS_OF_SIMPLIFIED = 5_000_000, 6_000_000

#: A known loss that every loss is drawn beside.
DRAWN_BESIDE = "focal"


@dataclass
class Explaining:
    """One explanation in its directory, on an executor, watched by a view."""

    plan: ExplanationPlan
    run: ExplanationDirectory
    executor: Executor
    view: ComparisonView

    def __post_init__(self) -> None:
        self.measured = MeasurementRunner.of_run(self.run, self.plan.executor, self.executor, self.view)

    def execute(self) -> Explanation:
        """Train what is not measured yet, and say what follows."""
        self.measured.restore()
        found = ablations(self.formula, self.plan.class_weights)
        trained = [self.whole, *_candidates(found)]
        works = {task: self._work(task, trained) for task in self.plan.tasks}
        beside = {task: self._work(task, self._beside()) for task in self.plan.all_tasks}
        self._complete([*works.values(), *beside.values()])
        effects = [each for task, work in works.items() for each in self._effects(task, work, found)]
        effects += self._of_simplified(effects, found)
        behaviour = [line for work in beside.values() for line in self._lines(work, BASELINE)]
        return Explanation(self._form(len(found)), self._curves(), effects, behaviour)

    # --- losses ---------------------------------------------------------------------------------------

    @cached_property
    def formula(self) -> Formula:
        """The canonical formula."""
        return parse(self.plan.loss)

    @cached_property
    def whole(self) -> Candidate:
        """The loss itself; the baseline by its name, however it was given."""
        found = as_candidate(self.formula, self.plan.class_weights, self.plan.called)
        return replace(found, name=BASELINE) if found.loss_id == self._named(BASELINE).loss_id else found

    def _beside(self) -> list[Candidate]:
        """The loss, cross-entropy and the rival, each once."""
        found = {self.whole.loss_id: self.whole}
        for text in (BASELINE, self.plan.rival):
            if text is not None:
                each = self._named(text)
                found.setdefault(each.loss_id, each)
        return list(found.values())

    def _named(self, text: str) -> Candidate:
        """A known loss in its canonical form, as a search trains it."""
        seed = named_loss(text)
        return as_candidate(canonical(seed.formula), seed.class_weights, seed.name)

    # --- trainings ------------------------------------------------------------------------------------

    def _work(self, task: str, candidates: Sequence[Candidate], first_seed: int = FRESH_SEEDS) -> Work:
        plan = self.plan
        return Work(
            tuple({each.key: each for each in candidates}.values()),
            task,
            plan.fidelity_of[task],
            plan.seed,
            device=plan.executor.device,
            measured="validation",
            first_seed=first_seed,
            data=plan.data.get(task),
            unhurried=True,
        )

    def _complete(self, works: Sequence[Work]) -> None:
        """One after the other, since some want the same training."""
        self.view.planned(sum(len(work.candidates) * work.fidelity.seeds for work in works))
        for work in works:
            self.measured.complete([work])

    def _lines(self, work: Work, baseline: str) -> list[Line]:
        records = [each for one in work.candidates for each in self.measured.of(one, work) or []]
        return comparison_lines(records, baseline)

    def _effects(self, task: str, work: Work, found: Sequence[Ablated], together: bool = False) -> list[PartEffect]:
        lines = {line.loss: line for line in self._lines(work, self.whole.called)}
        whole, metric = lines[self.whole.called], work.get_task().metric.name
        return [
            effect(
                each,
                "simplified" if together else each.parts[0].kind,
                task,
                metric,
                None if each.candidate is None else lines[each.candidate.called],
                whole,
            )
            for each in found
        ]

    def _of_simplified(self, effects: Sequence[PartEffect], found: Sequence[Ablated]) -> list[PartEffect]:
        """What becomes of the loss without all the parts that were not shown to matter, under other seeds."""
        simpler = simplified(self.formula, self.plan.class_weights, effects, found)
        if simpler is None:
            return []
        trained = [self.whole, *_candidates([simpler])]
        works = {task: self._work(task, trained, SEEDS_OF_SIMPLIFIED) for task in self.plan.tasks}
        self._complete(list(works.values()))
        return [each for task, work in works.items() for each in self._effects(task, work, [simpler], together=True)]

    # --- what needs no training -----------------------------------------------------------------------

    def _form(self, parts: int) -> Form:
        plan, kin = self.plan, nearest_known(self.formula)
        return Form(
            loss_id=plan.name,
            called=self.whole.called,
            formula=plan.formula,
            canonical=plan.loss,
            latex=latex(self.formula),
            class_weights=plan.class_weights,
            task=" + ".join(plan.tasks),
            seeds=plan.seeds,
            factor=self._factor(self.formula, plan.class_weights) if plan.factor is None else plan.factor,
            rejected=rejection(self.formula, self.whole.class_weights),
            nearest=None if kin is None else kin.name,
            cosine=None if kin is None else kin.cosine,
            parts=parts,
        )

    def _curves(self) -> list[CurvePoint]:
        """Of the loss, cross-entropy and focal, each once, at the size of the first task."""
        factor = self.plan.factor or self._factor(self.formula, self.plan.class_weights)
        drawn = {self.plan.loss: Drawn(self.whole.called, self.formula, factor or 1.0)}
        for name in (BASELINE, DRAWN_BESIDE):
            formula = canonical(CATALOG[name].bound())
            drawn.setdefault(str(formula), Drawn(name, formula, self._factor(formula, None) or 1.0))
        task = self.plan.tasks[0]
        return curves(list(drawn.values()), self.plan.task_named(task).classes, self.plan.fidelity_of[task].hidden)

    def _factor(self, formula: Formula, class_weights: str | None) -> float | None:
        """The factor that gives a loss cross-entropy's first gradient on the first task; None where it has none."""
        task, fidelity = self.plan.task_named(self.plan.tasks[0]), self.plan.fidelity_of[self.plan.tasks[0]]
        seed = training_seed(self._work(self.plan.tasks[0], []), FRESH_SEEDS)
        try:
            return calibration_factor(loss_for(formula, task, fidelity, class_weights), task, fidelity, seed)
        except TrainingFailed:
            return None


def _candidates(found: Sequence[Ablated]) -> list[Candidate]:
    return [each.candidate for each in found if each.candidate is not None]
