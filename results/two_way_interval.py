"""Two-way interval: what a mean difference may be under other seeds and on other samples of the same kind.

An interval over seeds alone says what other seeds would give on this very split. Source: the pigeonhole bootstrap of
Owen, Annals of Applied Statistics 2007: seeds and samples are resampled each by itself.
"""

import numpy as np
from numpy.typing import NDArray

#: Resamples and their seed, fixed, so that a table repeats.
RESAMPLES, SEED = 2_000, 0


def two_way_interval(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean difference of two arrays [seeds, samples] of what was told rightly.

    Row by row they are of the same seed, column by column of the same sample. Raises ValueError for other shapes.
    """
    if ours.shape != theirs.shape or ours.ndim != 2 or not ours.size:
        raise ValueError(f"Expected two arrays [seeds, samples] of one shape, got {ours.shape} and {theirs.shape}.")
    differences = ours - theirs
    seeds, samples = differences.shape
    generator = np.random.default_rng(SEED)
    of_seeds = generator.multinomial(seeds, np.full(seeds, 1.0 / seeds), RESAMPLES) / seeds
    of_samples = generator.multinomial(samples, np.full(samples, 1.0 / samples), RESAMPLES) / samples
    means = ((of_seeds @ differences) * of_samples).sum(1)
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)
