"""Samples of candidates on which proxies are judged: known losses, and what a search admits at its beginning.

Nothing is chosen by hand: known losses are drawn by the seed where there are too many, and the others are the first
random formulas that a search with the defaults of an experiment admits.
"""

import random
from collections.abc import Sequence

from lossearch.admission import Refusal
from lossearch.breeding import Breeding, birth_of_seed
from lossearch.evaluators.work import Candidate
from lossearch.experiment import EvolutionSettings, Experiment
from lossearch.progress import Progress, SilentView
from lossearch.stopwatch import Stopwatch
from lossearch.survivors import suitable_baselines

#: Share of a sample that known losses take at most.
KNOWN_SHARE = 0.7


def samples(experiments: Sequence[Experiment], count: int) -> list[tuple[Candidate, ...]]:
    """So many candidates for the task of each experiment, no two of which train alike; fewer where no more are found.

    What an experiment says of evolution is left out. Tasks that the same known losses suit have the same sample.
    """
    drawn: dict[tuple[str, ...], tuple[Candidate, ...]] = {}
    found = []
    for experiment in experiments:
        known = tuple(suitable_baselines(experiment))
        if known not in drawn:
            drawn[known] = tuple(_sample(known, experiment, count))
        found.append(drawn[known])
    return found


def _sample(known: Sequence[str], experiment: Experiment, count: int) -> list[Candidate]:
    unseeded = experiment.model_copy(update={"evolution": EvolutionSettings(seeds=())})
    breeding = Breeding(unseeded, lambda refused: None, Progress(1), SilentView(), Stopwatch())
    decisions = breeding.admission.decide_all([birth_of_seed(name) for name in known], 0)
    admitted = [each for each in decisions if not isinstance(each, Refusal)]
    room = int(KNOWN_SHARE * count)
    places = random.Random(experiment.seed).sample(range(len(admitted)), min(room, len(admitted)))
    found = [admitted[place] for place in sorted(places)]
    return [*found, *breeding.candidates(count - len(found), 1)]
