"""Breeding: births that are worth training, and records of those that are not."""

import math
from collections.abc import Callable, Iterator

from lossearch.engine.admission import Admission, Refusal
from lossearch.evaluators.device import one_thread
from lossearch.evaluators.work import Candidate
from lossearch.evolution.islands import Islands
from lossearch.evolution.population import Birth
from lossearch.results.records import BASELINE, Evaluation
from lossearch.runs.experiment import Experiment
from lossearch.runs.named_loss import named_loss
from lossearch.runs.progress import Progress, Stopwatch
from lossearch.runs.views import View

#: Births considered for each candidate wanted, before a search makes do with fewer.
BIRTHS_PER_CANDIDATE = 60

#: Births that are decided about at once, at most: it costs little more than one.
TOGETHER = 256


class Breeding:
    """Asks evolution for births, and admits those that are worth training; ``record`` takes in the others."""

    def __init__(
        self,
        experiment: Experiment,
        record: Callable[[list[Evaluation]], None],
        progress: Progress,
        view: View,
        watch: Stopwatch,
    ) -> None:
        settings = experiment.evolution
        self.evolution = Islands(settings, [birth_of_seed(text) for text in settings.seeds], experiment.seed)
        self.admission = Admission()
        self._experiment, self._record = experiment, record
        self._progress, self._view, self._watch = progress, view, watch

    def baseline(self) -> Iterator[Candidate]:
        """Cross-entropy, where it is not among the seeds: everything is compared with it."""
        if BASELINE not in self._experiment.evolution.seeds:
            yield from self._recorded(self._decisions([birth_of_seed(BASELINE, "baseline")], 0, None))

    def candidates(self, wanted: int, generation: int, fresh: bool = False, together: int = 1) -> Iterator[Candidate]:
        """Births that are worth training: all seeds first, then as many as are wanted, if they can be found.

        ``fresh`` ones have no parents. Of so many that are decided about ``together``, more than are wanted may be.
        """
        left = max(1, wanted) * BIRTHS_PER_CANDIDATE
        decided = admitted = 0
        while left > 0 and (wanted > 0 or self.evolution.has_starting_losses):
            if together > 1 or self.evolution.has_starting_losses:
                limit, count = None, max(together, wanted)  # each is one candidate at most
            else:  # as many as give those that are wanted, by the share so far; what is left over was never born
                limit, count = wanted, math.ceil(wanted * (decided + 1) / (admitted + 1))
            with self._watch.doing("breeding"):
                births = [self.evolution.ask(fresh) for _ in range(min(TOGETHER, left, count))]
            decisions = self._decisions(births, generation, limit)
            left -= len(decisions)
            decided += len(decisions)
            for candidate in self._recorded(decisions):
                admitted += 1
                wanted -= 1
                yield candidate

    def _decisions(self, births: list[Birth], generation: int, wanted: int | None) -> list[Candidate | Refusal]:
        with self._watch.doing("breeding"), one_thread():  # the others are the workers'
            return self.admission.screen(births, generation, wanted)

    def _recorded(self, decisions: list[Candidate | Refusal]) -> Iterator[Candidate]:
        """The candidates among the decisions; the others are recorded."""
        for decision in decisions:
            if isinstance(decision, Refusal):
                self._progress.refused(decision.status)
                work = self._experiment.work(self._experiment.tasks[0], [decision.candidate])
                self._record([decision.evaluation(work)])
            else:
                yield decision
            self._view.moved(self._progress)


def birth_of_seed(text: str, how: str = "known") -> Birth:
    """The birth of a known loss by its name, or of a formula."""
    seed = named_loss(text)
    return Birth(seed.formula, how, name=seed.name, class_weights=seed.class_weights)
