"""The study that explains a loss: it is drawn, trained without its parts, and trained on wrong and few labels.

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
from lossearch.runs import seed_ranges
from lossearch.runs.declaration import Declaration, validate_as
from lossearch.runs.directory import Directory
from lossearch.runs.named_loss import named_loss
from lossearch.runs.views import View
from lossearch.studies.ablation import Ablation, ablations, as_candidate, part_effect, simplify
from lossearch.studies.measuring import MeasurementRunner

#: Tasks without download that show how a loss copes with wrong labels and with rare classes.
BEHAVIOUR = ("digits", "digits_noisy_20", "digits_noisy", "digits_noisy_60", "digits_long_tail")

#: A known loss whose curves are drawn with those of every loss.
DRAWN_BESIDE = "focal"


class ExplanationPlan(Declaration):
    """One loss, the tasks that it was found on, and the trainings that explain it, validated before anything runs."""

    loss: str = Field(description="canonical formula without free names")
    called: str | None = Field(None, description="its name, where it is a known loss")
    formula: str = Field(description="as it was found or given")
    class_weights: str | None = Field(None, description="learned, pedcc or sub_centers, of a loss over embeddings")
    rival: str | None = Field(None, description="a known loss beside cross-entropy, as a user names it")
    tasks: tuple[str, ...] = Field(min_length=1, description="tasks on which its parts are left out")
    factor: float | None = Field(None, description="its factor in the search that trained it")
    seeds: int = Field(10, ge=1, le=1_000, description="trainings of each loss, with other weights and batches")

    @property
    def all_tasks(self) -> tuple[str, ...]:
        """The tasks that the loss was found on, then those that show its behaviour."""
        return (*self.tasks, *(task for task in BEHAVIOUR if task not in self.tasks))


class ExplanationDirectory(Directory[ExplanationPlan, Measurement]):
    """The directory of an explanation. Keys that change none of its trainings may be changed."""

    FILE, PARTS, FOLDERS, RECORD = "explanation.toml", "measurements", ("measurements",), Measurement
    FORCIBLE = ("called", "rival", "factor", "seeds")

    @classmethod
    def _may_change(cls, key: str, declared: ExplanationPlan) -> bool:
        """Return True for a forcible key. Every training has the number of seeds as well."""
        return super()._may_change(key, declared) or (key.startswith("fidelity_of.") and key.endswith(".seeds"))

    @classmethod
    def validated(cls, declared: dict[str, Any], source: str, with_data: bool = True) -> ExplanationPlan:
        """Return the plan of a dictionary. Raises ExperimentError."""
        tasks = declared.get("tasks")
        return validate_as(
            ExplanationPlan, declared | {"tasks": tuple(tasks) if isinstance(tasks, list) else tasks}, source
        )


@dataclass
class ExplanationStudy:
    """Trains what explains a loss, and keeps everything in the directory of the explanation."""

    plan: ExplanationPlan
    run: ExplanationDirectory
    executor: Executor
    view: View

    def __post_init__(self) -> None:
        self.measured = MeasurementRunner.of_run(self.run, self.plan.executor, self.executor, self.view)

    def execute(self) -> Explanation:
        """Train what is not measured yet, and return the explanation."""
        self.measured.restore()
        ablated = ablations(self.formula, self.plan.class_weights)
        trained = [self.whole, *_list_candidates(ablated)]
        works = {task: self._make_work(task, trained) for task in self.plan.tasks}
        behaviour_works = {task: self._make_work(task, self._list_compared()) for task in self.plan.all_tasks}
        self._complete([*works.values(), *behaviour_works.values()])
        effects = [effect for task, work in works.items() for effect in self._measure_effects(task, work, ablated)]
        effects += self._measure_simplified(effects, ablated)
        behaviour = [line for work in behaviour_works.values() for line in self._compare(work, BASELINE)]
        return Explanation(self._make_form(len(ablated)), self._draw_curves(), effects, behaviour)

    @cached_property
    def formula(self) -> Formula:
        """The canonical formula."""
        return parse(self.plan.loss)

    @cached_property
    def whole(self) -> Candidate:
        """The loss with all its parts. Cross-entropy has its own name, whatever text it was given by."""
        loss = as_candidate(self.formula, self.plan.class_weights, self.plan.called)
        return replace(loss, name=BASELINE) if loss.loss_id == _make_known(BASELINE).loss_id else loss

    def _list_compared(self) -> list[Candidate]:
        """List the loss, cross-entropy and the rival, each once."""
        compared = {self.whole.loss_id: self.whole}
        for text in (BASELINE, self.plan.rival):
            if text is not None:
                known = _make_known(text)
                compared.setdefault(known.loss_id, known)
        return list(compared.values())

    def _make_work(self, task: str, candidates: Sequence[Candidate], first_seed: int = seed_ranges.EXPLANATION) -> Work:
        distinct = {candidate.key: candidate for candidate in candidates}
        return self.plan.work(task, list(distinct.values()), measured="validation", first_seed=first_seed)

    def _complete(self, works: Sequence[Work]) -> None:
        """Complete one work after the other, since some ask for the same training."""
        self.view.planned(sum(len(work.candidates) * work.fidelity.seeds for work in works))
        for work in works:
            self.measured.complete([work])

    def _compare(self, work: Work, baseline: str) -> list[Line]:
        """Compare the work's losses with a baseline, one line for each."""
        records = [record for candidate in work.candidates for record in self.measured.of(candidate, work) or []]
        return comparison_lines(records, baseline)

    def _measure_effects(
        self, task: str, work: Work, ablated: Sequence[Ablation], are_simplified: bool = False
    ) -> list[PartEffect]:
        """Compare each ablation with the whole loss on a task."""
        lines = {line.loss: line for line in self._compare(work, self.whole.called)}
        whole, metric = lines[self.whole.called], work.get_task().metric.name
        return [
            part_effect(
                ablation,
                "simplified" if are_simplified else ablation.parts[0].kind,
                task,
                metric,
                None if ablation.candidate is None else lines[ablation.candidate.called],
                whole,
            )
            for ablation in ablated
        ]

    def _measure_simplified(self, effects: Sequence[PartEffect], ablated: Sequence[Ablation]) -> list[PartEffect]:
        """Leave out all parts that were not shown to matter, and measure the effects under fresh seeds."""
        simpler = simplify(self.formula, self.plan.class_weights, effects, ablated)
        if simpler is None:
            return []
        trained = [self.whole, *_list_candidates([simpler])]
        works = {task: self._make_work(task, trained, seed_ranges.SIMPLIFIED_LOSS) for task in self.plan.tasks}
        self._complete(list(works.values()))
        return [
            effect
            for task, work in works.items()
            for effect in self._measure_effects(task, work, [simpler], are_simplified=True)
        ]

    def _make_form(self, num_parts: int) -> Form:
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
            factor=self._find_factor(self.formula, plan.class_weights) if plan.factor is None else plan.factor,
            rejected=rejection(self.formula, self.whole.class_weights),
            nearest=None if kin is None else kin.name,
            cosine=None if kin is None else kin.cosine,
            parts=num_parts,
        )

    def _draw_curves(self) -> list[CurvePoint]:
        """Draw the loss, cross-entropy and focal, each once, with the classes and size of the first task."""
        factor = self.plan.factor or self._find_factor(self.formula, self.plan.class_weights)
        drawn = {self.plan.loss: Drawn(self.whole.called, self.formula, factor or 1.0)}
        for name in (BASELINE, DRAWN_BESIDE):
            formula = canonical(CATALOG[name].bound())
            drawn.setdefault(str(formula), Drawn(name, formula, self._find_factor(formula, None) or 1.0))
        task = self.plan.tasks[0]
        return curves(list(drawn.values()), self.plan.task_named(task).classes, self.plan.fidelity_of[task].hidden)

    def _find_factor(self, formula: Formula, class_weights: str | None) -> float | None:
        """Return the loss's calibration factor on the first task; None if its first gradient is not usable."""
        name = self.plan.tasks[0]
        task, fidelity = self.plan.task_named(name), self.plan.fidelity_of[name]
        seed = training_seed(self._make_work(name, []), seed_ranges.EXPLANATION)
        try:
            return calibration_factor(loss_for(formula, task, fidelity, class_weights), task, fidelity, seed)
        except TrainingFailed:
            return None


def _make_known(text: str) -> Candidate:
    """Create the candidate of a known loss in its canonical form, as a search trains it."""
    loss = named_loss(text)
    return as_candidate(canonical(loss.formula), loss.class_weights, loss.name)


def _list_candidates(ablated: Sequence[Ablation]) -> list[Candidate]:
    return [ablation.candidate for ablation in ablated if ablation.candidate is not None]
