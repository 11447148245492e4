"""Seed ranges: the index of the first seed of each kind of training, so that no loss is judged by seeds that chose it.

An index is not yet a random seed: ``training_seed`` hashes it with the run's seed, the task and the kind of training.
Trainings of a search are one kind and measured trainings another, so a search and a comparison both count from 0.

Invariant: the ranges of a kind are disjoint. Each is ``LENGTH`` long, and no declaration allows that many seeds.
"""

#: Indices from one first seed to the next.
LENGTH = 1_000_000

# Trainings of a search.

#: Candidates of a search, and of the random search to compare with. The seeds of retests follow a candidate's own.
SEARCH = 0

#: The test of an exported loss under fresh seeds.
FRESH_SEED_TEST = 1_000_000

# Measured trainings.

#: Comparisons, also those of a verdict: none of these seeds chose a loss or a setting.
COMPARISON = 0

#: Trials of settings. The seeds that confirm the best settings follow those of the trials.
TUNING = 2_000_000

#: Ablations of a loss, and the trainings that show its behaviour.
EXPLANATION = 5_000_000

#: A loss and its simplified form.
SIMPLIFIED_LOSS = 6_000_000

#: Full trainings of a fidelity study.
FULL_TRAINING = 7_000_000

#: Shorter trainings of a fidelity study.
PROXY_TRAINING = 8_000_000

#: The one training of a loss that a report observes.
OBSERVATION = 9_000_000
