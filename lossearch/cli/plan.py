"""The plan of a search, as text: its size, and whether its starting losses pass the screening."""

import random

from lossearch.engine.admission import Admission, Refusal
from lossearch.engine.breeding import birth_of_named
from lossearch.engine.search_loop import planned_trainings
from lossearch.evolution.population import Evolution
from lossearch.runs.experiment import Experiment


def plan(experiment: Experiment) -> str:
    """Return the plan of an experiment, in a few lines. Nothing is trained or written."""
    trainings = planned_trainings(experiment)
    settings, fidelity = experiment.evolution, experiment.training_on(experiment.tasks[0])
    steps = " or ".join(map(str, dict.fromkeys(experiment.training_on(task).steps for task in experiment.tasks)))
    Evolution(settings, [], random.Random(experiment.seed)).ask()  # raises if no random tree keeps the limits
    admission = Admission()
    lines = [
        f"{experiment.name}: {'tasks' if len(experiment.tasks) > 1 else 'task'} {', '.join(experiment.tasks)}, "
        f"seed {experiment.seed}, {experiment.executor.kind} executor",
        f"{settings.generations} generations of {settings.population} candidates, {fidelity.seeds} seeds each: "
        f"up to {trainings} trainings of {steps} steps",
    ]
    if fidelity.rungs:
        after = ", ".join(map(str, fidelity.rungs))
        lines.append(f"rungs after {after} steps: the best one in {fidelity.reduction_factor} goes on each time")
    lines.append("starting losses:")
    for text in settings.seeds:
        birth = birth_of_named(text)
        decision = admission.decide(birth, 0)
        refused = f"  ({decision.status}: {decision.reason})" if isinstance(decision, Refusal) else ""
        formula = decision.candidate.formula if isinstance(decision, Refusal) else decision.formula
        lines.append(f"  {birth.name or '':28} {formula}{refused}")
    return "\n".join(lines)
