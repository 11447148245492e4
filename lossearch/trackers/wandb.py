"""Tracker for Weights & Biases: a run with configuration, history and files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lossearch.primitives.arguments import refuse_unknown_arguments, require_path, require_text
from lossearch.trackers.tracker import Tracker, not_installed


@refuse_unknown_arguments
class WandB(Tracker):
    """Logs into the active run of Weights & Biases, or into a new one.

    ``project``, ``mode`` (``offline`` sends nothing) and ``dir`` are arguments of ``wandb.init``. By default the
    environment decides, such as ``WANDB_MODE``. Raises UserError if wandb is not installed.
    """

    def __init__(self, project: str | None = None, mode: Any = None, dir: str | Path | None = None) -> None:
        if project is not None:
            require_text("project", project)
        dir = None if dir is None else require_path("dir", dir)
        try:
            import wandb
        except ImportError:
            raise not_installed("wandb") from None
        self._wandb: Any = wandb
        self._arguments = {"project": project or "lossearch", "mode": mode, "dir": dir}
        self._is_own = False

    def open(self, path: Path, settings: Mapping[str, Any]) -> None:
        self._run = self._wandb.run
        if self._run is None:
            self._run, self._is_own = self._wandb.init(name=path.name, **self._arguments), True
        self._run.config.update(dict(settings), allow_val_change=True)

    def log_numbers(self, values: Mapping[str, float], step: int | None) -> None:
        if step is None:
            self._run.summary.update(dict(values))
        else:
            self._run.log({"generation": step, **values})

    def log_text(self, name: str, text: str, step: int) -> None:
        self._run.summary.update({name: text})

    def log_files(self, paths: Sequence[Path]) -> None:
        for path in paths:
            self._run.save(str(path), base_path=str(path.parent), policy="now")

    def close(self) -> None:
        if self._is_own:
            self._run.finish()
