"""Breeding: ask evolution for births until enough of them are worth training."""

import math
from collections.abc import Callable, Iterator

from lossearch.engine.admission import MAX_BATCH, Admission, Refusal
from lossearch.evaluators.device import one_thread
from lossearch.evaluators.work import Candidate
from lossearch.evolution.islands import Islands
from lossearch.evolution.population import Birth
from lossearch.results.records import BASELINE, Evaluation
from lossearch.runs.experiment import Experiment
from lossearch.runs.named_loss import named_loss
from lossearch.runs.progress import Progress
from lossearch.runs.timing import Stopwatch
from lossearch.runs.views import View

#: Largest number of births for each wanted candidate. After that a search goes on with fewer candidates.
BIRTHS_PER_CANDIDATE = 60


class Breeding:
    """Ask evolution for births and admit the ones that are worth training; ``record`` takes the refused ones."""

    def __init__(
        self,
        experiment: Experiment,
        record: Callable[[list[Evaluation]], None],
        progress: Progress,
        view: View,
        watch: Stopwatch,
    ) -> None:
        settings = experiment.evolution
        starting_losses = [birth_of_named(text) for text in settings.seeds]
        self.evolution = Islands(settings, starting_losses, experiment.seed)
        self.admission = Admission()
        self._experiment, self._record = experiment, record
        self._progress, self._view, self._watch = progress, view, watch

    def baseline(self) -> Iterator[Candidate]:
        """Yield cross-entropy unless it is a starting loss: every loss is compared with it."""
        if BASELINE not in self._experiment.evolution.seeds:
            yield from self._record_refusals(self._screen([birth_of_named(BASELINE, "baseline")], 0, None))

    def candidates(self, wanted: int, generation: int, fresh: bool = False, together: int = 1) -> Iterator[Candidate]:
        """Yield all starting losses that are left, then candidates up to ``wanted``, or fewer if too few are found.

        ``fresh`` candidates are random trees without parents. ``together`` births are screened at once; with more than
        one, more candidates than wanted may come.
        """
        births_left = max(1, wanted) * BIRTHS_PER_CANDIDATE
        num_decided = num_admitted = 0
        while births_left > 0 and (wanted > 0 or self.evolution.has_starting_losses):
            if together > 1 or self.evolution.has_starting_losses:
                limit, count = None, max(together, wanted)  # each birth gives one candidate at most
            else:  # enough births at the rate of admission so far; the surplus is dropped
                limit, count = wanted, math.ceil(wanted * (num_decided + 1) / (num_admitted + 1))
            with self._watch.doing("breeding"):
                births = [self.evolution.ask(fresh) for _ in range(min(MAX_BATCH, births_left, count))]
            decisions = self._screen(births, generation, limit)
            births_left -= len(decisions)
            num_decided += len(decisions)
            for candidate in self._record_refusals(decisions):
                num_admitted += 1
                wanted -= 1
                yield candidate

    def _screen(self, births: list[Birth], generation: int, wanted: int | None) -> list[Candidate | Refusal]:
        with self._watch.doing("breeding"), one_thread():  # the other threads belong to the workers
            return self.admission.screen(births, generation, wanted)

    def _record_refusals(self, decisions: list[Candidate | Refusal]) -> Iterator[Candidate]:
        """Yield the candidates among the decisions, and record the refusals."""
        for decision in decisions:
            if isinstance(decision, Refusal):
                self._progress.count_refusal(decision.status)
                work = self._experiment.work(self._experiment.tasks[0], [decision.candidate])
                self._record([decision.evaluation(work)])
            else:
                yield decision
            self._view.moved(self._progress)


def birth_of_named(text: str, kind: str = "known") -> Birth:
    """Create the birth of a known loss, by its name, or of a formula. Raises UserError."""
    loss = named_loss(text)
    return Birth(loss.formula, kind, name=loss.name, class_weights=loss.class_weights)
