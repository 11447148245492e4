"""What is done about broken images: published data may have a few, which are left out and named."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from lossearch.evaluators.data.data_home import place
from lossearch.evaluators.data.images import BrokenImage
from lossearch.evaluators.data.prepared import Prepared, Sample
from lossearch.primitives.errors import shown

#: Of so many images of a part one may be broken.
ONE_IN = 1_000

_Item = TypeVar("_Item")


def mostly_sound(
    items: Sequence[_Item], sample: Callable[[_Item], Sample], name: Callable[[_Item], str], skipped: list[str]
) -> Iterator[Sample]:
    """The samples of a part without those that are broken, whose names are added to ``skipped``.

    Raises BrokenImage, with the name, for the first that exceeds one in a thousand.
    """
    lost = 0
    for item in items:
        try:
            found = sample(item)
        except BrokenImage as broken:
            lost += 1
            if lost * ONE_IN > len(items):
                raise BrokenImage(f"{name(item)}: {broken}") from None
            skipped.append(f"{name(item)} ({broken})")
        else:
            yield found


def warn_of_skipped(data: Prepared, folder: Path) -> None:
    """Warn of broken files that prepared data is without."""
    skipped = data.about["skipped"]
    if skipped:
        warnings.warn(
            f"Broken files in {place(folder)} were skipped: {len(skipped)}, such as {shown(skipped[0], 160)}.",
            UserWarning,
            stacklevel=4,
        )
