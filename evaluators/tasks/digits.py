"""Tasks on scikit-learn's handwritten digits: clean, with wrong labels, with a long tail, with few labels.

The parts are fixed: half of each class trains, a quarter validates, a quarter tests. Corruption is in the training part
alone.
"""

from collections.abc import Callable
from functools import lru_cache

from lossearch.evaluators.data.parts import PARTS, SHARES, rows_of_parts
from lossearch.evaluators.data.splits import (
    Split,
    Splits,
    few_labels,
    handwritten_digits,
    long_tailed,
    with_asymmetric_noise,
    with_symmetric_noise,
)
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task

CLASSES, SHAPE = 10, (1, 8, 8)
_NOISE_SEED = 7

#: Of each task the cheapest that ranks losses as its full training does: experiments/fidelity, by lossearch fidelity.
_PROXIES = {
    "digits": TrainingSettings(steps=50, seeds=1),
    "digits_noisy_20": TrainingSettings(steps=100, seeds=1),
    "digits_noisy": TrainingSettings(steps=100, seeds=1),
    "digits_noisy_60": TrainingSettings(steps=100, seeds=1),
    "digits_asymmetric_20": TrainingSettings(steps=50, seeds=1),
    "digits_asymmetric_40": TrainingSettings(steps=100, seeds=1),
    "digits_asymmetric_60": TrainingSettings(steps=100, seeds=1),
    "digits_long_tail": TrainingSettings(steps=50, seeds=1),
    "digits_few_labels": TrainingSettings(steps=25, seeds=1),
}


@lru_cache(maxsize=1)
def _parts() -> tuple[Split, Split, Split]:
    inputs, targets = handwritten_digits()
    drawn = rows_of_parts(targets, PARTS, SHARES).values()
    train, validation, test = (Split(inputs[rows], targets[rows]) for rows in drawn)
    return train, validation, test


def _test() -> Split:
    return _parts()[2]


def _task(name: str, family: str, what: str, corrupted: Callable[[Split], Split]) -> Task:
    @lru_cache(maxsize=1)
    def load() -> Splits:
        train, validation, _ = _parts()
        return Splits(corrupted(train), validation)

    summary = f"8x8 handwritten digits{what}"
    return Task(name, family, summary, CLASSES, SHAPE, load, _test, proxy=_PROXIES[name])


def _symmetric(percent: int) -> Task:
    return _task(
        "digits_noisy" if percent == 40 else f"digits_noisy_{percent}",
        "label noise",
        f"; {percent} % of the training labels moved to another class",
        lambda train: with_symmetric_noise(train, percent / 100, CLASSES, _NOISE_SEED),
    )


def _asymmetric(percent: int) -> Task:
    return _task(
        f"digits_asymmetric_{percent}",
        "label noise",
        f"; {percent} % of the training labels moved to the next class",
        lambda train: with_asymmetric_noise(train, percent / 100, CLASSES, _NOISE_SEED),
    )


TASKS = (
    _task("digits", "clean", "", lambda train: train),
    *(_symmetric(percent) for percent in (20, 40, 60)),
    *(_asymmetric(percent) for percent in (20, 40, 60)),
    _task(
        "digits_long_tail",
        "long tail",
        "; the first class has 50 times as many training samples as the last",
        lambda train: long_tailed(train, 50.0, CLASSES),
    ),
    _task(
        "digits_few_labels",
        "few labels",
        "; 5 training samples of each class",
        lambda train: few_labels(train, 5, CLASSES),
    ),
)
