"""Fidelity study: candidates are trained fully and by proxies, under other seeds, and what each was worth is kept.

Everything is measured on the validation split; the test split is not loaded.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lossearch.comparison_view import ComparisonView
from lossearch.evaluators.executors.executor import Executor
from lossearch.evaluators.fidelity import Fidelity
from lossearch.evaluators.work import Candidate, Work
from lossearch.experiment import Experiment
from lossearch.fidelity_directory import FEWEST, FidelityDirectory, FidelityPlan
from lossearch.fidelity_sample import samples
from lossearch.measured import Measured, trainings
from lossearch.primitives.errors import UserError
from lossearch.proxies import proxy_of
from lossearch.results.findings.proxies import FULL, PROXIES, SEEDS, ProxyValue

#: The first seeds of full trainings and of proxies: what else is trained has others.
SEEDS_OF_FULL, SEEDS_OF_PROXIES = 7_000_000, 8_000_000


@dataclass
class FidelityStudy:
    """One study in its directory, on an executor, watched by a view."""

    plan: FidelityPlan
    run: FidelityDirectory
    executor: Executor
    view: ComparisonView

    def __post_init__(self) -> None:
        self.measured = Measured.of_run(self.run, self.plan.executor, self.executor, self.view)

    def execute(self) -> list[ProxyValue]:
        """Train what is not measured yet, and say what each training was worth."""
        self.measured.restore()
        works = self._works()
        self.view.planned(sum(trainings(work) for _, work in works))
        self.measured.complete([work for _, work in works])
        return [value for proxy, work in works for value in self._values(proxy, work)]

    def _works(self) -> list[tuple[str, Work]]:
        """Every training by what it stands for, task after task."""
        tasks, plan = self.plan.tasks, self.plan
        searches = [Experiment(name="fidelity", task=task, seed=plan.seed) for task in tasks]
        found = samples(searches, plan.candidates)
        return [each for task, own in zip(tasks, found, strict=True) for each in self._of_task(task, own)]

    def _of_task(self, task: str, candidates: tuple[Candidate, ...]) -> Iterator[tuple[str, Work]]:
        if len(candidates) < FEWEST:
            raise UserError(
                f"{task}: expected {FEWEST} candidates at least, got {len(candidates)} that are worth training. Ask "
                "for more."
            )
        full = self.plan.fidelity_of[task]
        yield FULL, self._work(task, candidates, full, SEEDS_OF_FULL)
        for proxy, divisor in PROXIES.items():
            seeds = max(*SEEDS, full.seeds) if divisor == 1 else max(SEEDS)  # all steps stand for the full one again
            yield proxy, self._work(task, candidates, proxy_of(full, proxy, seeds), SEEDS_OF_PROXIES)

    def _work(self, task: str, candidates: tuple[Candidate, ...], fidelity: Fidelity, first_seed: int) -> Work:
        return Work(
            candidates,
            task,
            fidelity,
            self.plan.seed,
            device=self.plan.executor.device,
            measured="validation",
            first_seed=first_seed,
            unhurried=True,
        )

    def _values(self, proxy: str, work: Work) -> Iterator[ProxyValue]:
        """What every candidate was worth after the work, under each seed."""
        for candidate in work.candidates:
            for found in self.measured.of(candidate, work) or ():
                yield ProxyValue(
                    task=work.task,
                    loss_id=candidate.loss_id,
                    formula=candidate.formula,
                    name=candidate.name,
                    class_weights=candidate.class_weights,
                    proxy=proxy,
                    steps=work.fidelity.steps,
                    full_steps=self.plan.fidelity_of[work.task].steps,
                    seed=found.seed,
                    metric=found.measure,
                    fitness=found.value,
                    reason=found.reason,
                )
