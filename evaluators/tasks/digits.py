"""Tasks on scikit-learn's handwritten digits, clean and with wrong labels in the training split.

The parts are fixed: half of each class trains, a quarter validates, a quarter tests.
"""

from functools import lru_cache

from evaluators.datasets import handwritten_digits
from evaluators.splits import Split, Splits, stratified, with_symmetric_noise
from evaluators.tasks.task import Task

CLASSES, SHAPE = 10, (1, 8, 8)
_SHARES, _SPLIT_SEED, _NOISE_SEED = (0.5, 0.25, 0.25), 20_240_412, 7


@lru_cache(maxsize=1)
def _parts() -> tuple[Split, Split, Split]:
    inputs, targets = handwritten_digits()
    train, validation, test = (Split(inputs[part], targets[part]) for part in stratified(targets, _SHARES, _SPLIT_SEED))
    return train, validation, test


@lru_cache(maxsize=1)
def _clean() -> Splits:
    train, validation, _ = _parts()
    return Splits(train, validation)


@lru_cache(maxsize=1)
def _noisy() -> Splits:
    train, validation, _ = _parts()
    return Splits(with_symmetric_noise(train, 0.4, CLASSES, _NOISE_SEED), validation)


def _test() -> Split:
    return _parts()[2]


TASKS = (
    Task("digits", "clean", "8x8 handwritten digits", CLASSES, SHAPE, _clean, _test),
    Task(
        "digits_noisy",
        "label noise",
        "8x8 handwritten digits; 40 % of the training labels moved to another class",
        CLASSES,
        SHAPE,
        _noisy,
        _test,
    ),
)
