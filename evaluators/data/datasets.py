"""Where data comes from: arrays of inputs and class indices, before any split."""

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=1)
def handwritten_digits() -> tuple[Tensor, Tensor]:
    """Scikit-learn's 1,797 handwritten digits: images [1797, 1, 8, 8] in [-1, 1], classes 0 to 9.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test set).
    """
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8.0 - 1.0
    return inputs, torch.tensor(targets, dtype=torch.int64)
