"""Tracker for MLflow: a run with parameters, metrics and artifacts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lossearch.primitives.arguments import refuse_unknown_arguments, require_text
from lossearch.trackers.tracker import Tracker, not_installed

#: Largest number of characters in a parameter or tag that every MLflow store accepts.
LONGEST = 500


@refuse_unknown_arguments
class MLflow(Tracker):
    """Logs into the active MLflow run, or into a new one.

    ``tracking_uri`` and ``experiment_name`` are MLflow's own arguments. By default MLflow's settings apply, such as
    the environment variable ``MLFLOW_TRACKING_URI``. Raises UserError if MLflow is not installed.
    """

    def __init__(self, tracking_uri: str | None = None, experiment_name: str | None = None) -> None:
        for name, value in (("tracking_uri", tracking_uri), ("experiment_name", experiment_name)):
            if value is not None:
                require_text(name, value)
        try:
            import mlflow
        except ImportError:
            raise not_installed("mlflow") from None
        self._mlflow: Any = mlflow
        self._uri, self._experiment = tracking_uri, experiment_name
        self._is_own = False

    def open(self, path: Path, settings: Mapping[str, Any]) -> None:
        if self._mlflow.active_run() is None:
            if self._uri is not None:
                self._mlflow.set_tracking_uri(self._uri)
            if self._experiment is not None:
                self._mlflow.set_experiment(self._experiment)
            self._mlflow.start_run(run_name=path.name)
            self._is_own = True
        self._mlflow.log_params({name: str(value)[:LONGEST] for name, value in settings.items()})

    def log_numbers(self, values: Mapping[str, float], step: int | None) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def log_text(self, name: str, text: str, step: int) -> None:
        self._mlflow.set_tag(name, text[:LONGEST])

    def log_files(self, paths: Sequence[Path]) -> None:
        for path in paths:
            self._mlflow.log_artifact(str(path))

    def close(self) -> None:
        if self._is_own:
            self._mlflow.end_run()
