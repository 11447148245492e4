"""Tasks on scikit-learn's handwritten digits: clean, with wrong labels, with a long tail, with few labels.

The parts are fixed: half of each class trains, a quarter validates, a quarter tests. Only the training part is
corrupted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from lossearch.evaluators.data.corruption import (
    add_asymmetric_noise,
    add_symmetric_noise,
    keep_few_labels,
    make_long_tailed,
)
from lossearch.evaluators.data.parts import PARTS, SHARES, draw_rows
from lossearch.evaluators.data.splits import Split, Splits
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task

CLASSES, SHAPE = 10, (1, 8, 8)
_NOISE_SEED = 7

#: The cheapest training of each task that ranks losses like its full training. Measured by ``lossearch fidelity``, see
#: experiments/fidelity.
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
def _divide_digits() -> tuple[Split, Split, Split]:
    """Divide the 1,797 digits into train, validation and test: images [samples, 1, 8, 8] in [-1, 1], classes 0 to 9.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test set).
    """
    import torch
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32).reshape(-1, *SHAPE) / 8.0 - 1.0
    targets = torch.tensor(labels, dtype=torch.int64)
    train, validation, test = (
        Split(inputs[rows], targets[rows]) for rows in draw_rows(targets, PARTS, SHARES).values()
    )
    return train, validation, test


def _make_task(name: str, family: str, suffix: str, corrupt: Callable[[Split], Split]) -> Task:
    """Make a task on digits with a corrupted training part."""

    @lru_cache(maxsize=1)
    def load() -> Splits:
        train, validation, _ = _divide_digits()
        return Splits(corrupt(train), validation)

    summary = f"8x8 handwritten digits{suffix}"
    return Task(name, family, summary, CLASSES, SHAPE, load, lambda: _divide_digits()[2], proxy=_PROXIES[name])


def _make_symmetric(percent: int) -> Task:
    return _make_task(
        "digits_noisy" if percent == 40 else f"digits_noisy_{percent}",
        "label noise",
        f"; {percent} % of the training labels moved to another class",
        lambda train: add_symmetric_noise(train, percent / 100, CLASSES, _NOISE_SEED),
    )


def _make_asymmetric(percent: int) -> Task:
    return _make_task(
        f"digits_asymmetric_{percent}",
        "label noise",
        f"; {percent} % of the training labels moved to the next class",
        lambda train: add_asymmetric_noise(train, percent / 100, CLASSES, _NOISE_SEED),
    )


TASKS = (
    _make_task("digits", "clean", "", lambda train: train),
    *(_make_symmetric(percent) for percent in (20, 40, 60)),
    *(_make_asymmetric(percent) for percent in (20, 40, 60)),
    _make_task(
        "digits_long_tail",
        "long tail",
        "; the first class has 50 times as many training samples as the last",
        lambda train: make_long_tailed(train, 50.0, CLASSES),
    ),
    _make_task(
        "digits_few_labels",
        "few labels",
        "; 5 training samples of each class",
        lambda train: keep_few_labels(train, 5, CLASSES),
    ),
)
