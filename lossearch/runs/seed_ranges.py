"""Seed ranges: the index of the first seed of everything that is trained, so that no loss is judged by what chose it.

An index is not yet a random seed: ``training_seed`` hashes it with the run's seed, the task and the kind of training.
Trainings of a search are one kind, measured trainings another, so a search and a comparison may both count from 0.

Invariant: within a kind the ranges are disjoint: each is ``LENGTH`` long, and no declaration allows as many seeds.
"""

#: Indices from one first seed to the next.
LENGTH = 1_000_000

# --- Trainings of a search ---

#: Candidates of a search and of the random search beside it. Retests go on where a candidate's own seeds end.
SEARCH = 0

#: The test of an exported loss under fresh seeds.
FRESH_SEED_TEST = 1_000_000

# --- Measured trainings ---

#: Comparisons, also those that a verdict makes: by none of these seeds was a loss or a setting chosen.
COMPARISON = 0

#: Trials of settings. The seeds that confirm the best settings follow those of the trials.
TUNING = 2_000_000

#: Ablations of a loss and its behaviour.
EXPLANATION = 5_000_000

#: A loss beside its simplified form.
SIMPLIFIED_LOSS = 6_000_000

#: Full trainings of a fidelity study.
FULL_TRAINING = 7_000_000

#: Shorter trainings of a fidelity study.
PROXY_TRAINING = 8_000_000

#: The one training of a loss that a report observes. It was 8_000_000 once, a seed of the fidelity study.
OBSERVATION = 9_000_000
