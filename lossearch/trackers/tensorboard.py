"""Tracker for TensorBoard: event files, written by torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lossearch.primitives.arguments import refuse_unknown_arguments, require_path
from lossearch.results.storage.run_files import refuse_linked_folders
from lossearch.trackers.tracker import Tracker, not_installed


@refuse_unknown_arguments
class TensorBoard(Tracker):
    """Writes event files for ``tensorboard --logdir`` into ``log_dir``, by default ``tensorboard/`` in the run.

    Raises UserError if the package tensorboard is not installed.
    """

    def __init__(self, log_dir: str | Path | None = None) -> None:
        log_dir = None if log_dir is None else require_path("log_dir", log_dir)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise not_installed("tensorboard") from None
        self._make, self._log_dir = SummaryWriter, log_dir

    def open(self, path: Path, settings: Mapping[str, Any]) -> None:
        refuse_linked_folders(path / "tensorboard" / "events")
        self._writer: Any = self._make(str(self._log_dir or path / "tensorboard"))
        rows = "\n".join(f"| {name} | {_escape(value)} |" for name, value in settings.items())
        self._writer.add_text("experiment", f"| setting | value |\n|---|---|\n{rows}")
        self._writer.flush()

    def log_numbers(self, values: Mapping[str, float], step: int | None) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # a search that is killed later keeps them

    def log_text(self, name: str, text: str, step: int) -> None:
        self._writer.add_text(name, f"    {text}", step)  # indented text is code: Markdown leaves it as it is

    def log_files(self, paths: Sequence[Path]) -> None:
        """Do nothing: event files hold no other files."""

    def close(self) -> None:
        self._writer.close()


def _escape(value: Any) -> str:
    return str(value).replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
