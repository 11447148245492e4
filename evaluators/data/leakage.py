"""Samples that occur in more than one part: a network that trained on them is measured on what it has seen."""

import warnings
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from torch import Tensor

from lossearch.evaluators.data.data_home import shown_path
from lossearch.evaluators.data.splits import Split


def warn_of_shared(path: Path, parts: Mapping[str, Split], advice: str) -> None:
    """Warn of validation and test samples that an earlier part has as well, bit for bit; ``advice`` is a sentence.

    ``parts`` are in the order train, validation, test.
    """
    shared = count_shared(parts)
    if shared:
        counts = " and ".join(f"{count} of {len(parts[part])} in {part}" for part, count in shared.items())
        num_shared = sum(shared.values())
        warnings.warn(
            f"{num_shared} {'sample' if num_shared == 1 else 'samples'} of {shown_path(path)} "
            f"{'is' if num_shared == 1 else 'are'} in more than one part ({counts}): scores measured on them are too "
            f"high. {advice}",
            UserWarning,
            stacklevel=4,
        )


def count_shared(parts: Mapping[str, Split]) -> dict[str, int]:
    """Count the samples of each part whose inputs an earlier part has as well. Parts without any are left out."""
    counts: dict[str, int] = {}
    earlier: set[bytes] = set()
    for part, split in parts.items():
        hashes = [_hash(row) for row in split.inputs]
        counts[part] = sum(row in earlier for row in hashes)
        earlier.update(hashes)
    return {part: count for part, count in counts.items() if count}


def _hash(inputs: Tensor) -> bytes:
    numbers = inputs + 0.0 if inputs.is_floating_point() else inputs  # -0.0 is 0.0
    return blake2b(numbers.numpy().tobytes(), digest_size=16).digest()
