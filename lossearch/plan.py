"""What a search would do, as text: its size, and how its seeds stand the screening."""

import random

from lossearch.admission import Admission, Refusal
from lossearch.evolution import Birth, Evolution
from lossearch.experiment import Experiment
from lossearch.loop import planned_trainings
from primitives.catalog import CATALOG


def plan(experiment: Experiment) -> str:
    """The plan of an experiment, in a few lines; nothing is trained or written."""
    trainings = planned_trainings(experiment)
    settings, fidelity = experiment.evolution, experiment.fidelity
    Evolution(settings, [], random.Random(experiment.seed)).ask()  # raises where no random tree keeps the limits
    admission = Admission()
    lines = [
        f"{experiment.name}: task {experiment.task}, seed {experiment.seed}, {experiment.executor.kind} executor",
        f"{settings.generations} generations of {settings.population} candidates, {fidelity.seeds} seeds each: "
        f"up to {trainings} trainings of {fidelity.steps} steps",
        "seeds:",
    ]
    for name in settings.seeds:
        decision = admission.decide(Birth(CATALOG[name].bound(), "known", name=name), 0)
        refused = f"  ({decision.status}: {decision.reason})" if isinstance(decision, Refusal) else ""
        text = decision.candidate.formula if isinstance(decision, Refusal) else decision.formula
        lines.append(f"  {name:28} {text}{refused}")
    return "\n".join(lines)
