"""The view: how a search or a study shows its progress to a person, and the view that shows nothing."""

from pathlib import Path
from typing import Any, Protocol

from lossearch.primitives.errors import Argument, WrongType, describe
from lossearch.runs.progress import Progress


class View(Protocol):
    """Shows a search or a study while it runs."""

    def started(self, run: Path, slots: int | None = None) -> None:
        """Show the run's directory, and for a search the number of candidates that are trained at a time."""

    def moved(self, progress: Progress) -> None:
        """Show the progress of a search: a candidate was trained or refused."""

    def generation_ended(self, progress: Progress) -> None:
        """Show the progress of a search at the end of a generation."""

    def planned(self, trainings: int) -> None:
        """Add trainings to what a study is about to do."""

    def recalled(self, trainings: float, task: str) -> None:
        """Count trainings of a study, or shares of one, that an earlier call did or that are not needed."""

    def advanced(self, trainings: float, task: str) -> None:
        """Count trainings of a study, or shares of one, that were done now."""

    def warned(self, message: str) -> None:
        """Show what went wrong without stopping the run."""


def require_view(view: Any) -> None:
    """Raise WrongType for anything but None or a view."""
    has_methods = all(callable(getattr(view, name, None)) for name in ("started", "warned"))
    if view is not None and (isinstance(view, type) or not has_methods):
        raise WrongType(
            "Expected ", Argument("view"), f" to have the methods of lossearch.runs.views.View, got {describe(view)}."
        )


class SilentView:
    """Shows nothing. Views that show a part of a run derive from it."""

    def started(self, run: Path, slots: int | None = None) -> None: ...

    def moved(self, progress: Progress) -> None: ...

    def generation_ended(self, progress: Progress) -> None: ...

    def planned(self, trainings: int) -> None: ...

    def recalled(self, trainings: float, task: str) -> None: ...

    def advanced(self, trainings: float, task: str) -> None: ...

    def warned(self, message: str) -> None: ...
