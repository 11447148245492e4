"""Views: the protocols by which searches and studies tell a person how they go, and silent ones."""

from pathlib import Path
from typing import Protocol

from lossearch.runs.progress import Progress


class ComparisonView(Protocol):
    """Shows a comparison to a person while it runs."""

    def started(self, run: Path) -> None:
        """Losses are about to be trained, and measurements kept in this directory."""

    def planned(self, trainings: int) -> None:
        """So many trainings more are to be done."""

    def recalled(self, trainings: float, what: str) -> None:
        """So many on this task, or shares of them, were done before a restart."""

    def moved(self, trainings: float, what: str) -> None:
        """So many more are done on this task, or shares of them."""

    def warned(self, message: str) -> None:
        """Something is wrong that the comparison copes with."""


class SilentComparison:
    """Shows nothing."""

    def started(self, run: Path) -> None: ...

    def planned(self, trainings: int) -> None: ...

    def recalled(self, trainings: float, what: str) -> None: ...

    def moved(self, trainings: float, what: str) -> None: ...

    def warned(self, message: str) -> None: ...


class SearchView(Protocol):
    """Shows a search to a person while it runs."""

    def started(self, run: Path, slots: int) -> None:
        """Candidates are about to be trained, so many at once, and kept in this run's directory."""

    def moved(self, progress: Progress) -> None:
        """A candidate was trained or refused."""

    def generation_ended(self, progress: Progress) -> None:
        """A generation is through."""

    def warned(self, message: str) -> None:
        """Something is wrong that the search copes with."""


class SilentView:
    """Shows nothing."""

    def started(self, run: Path, slots: int) -> None: ...

    def moved(self, progress: Progress) -> None: ...

    def generation_ended(self, progress: Progress) -> None: ...

    def warned(self, message: str) -> None: ...
