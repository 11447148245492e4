"""MLflow as a tracker: a run with parameters, metrics and artifacts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lossearch.trackers.tracker import Tracker, missing

#: Characters of a parameter or tag that every store of MLflow takes.
LONGEST = 500


class MLflow(Tracker):
    """Logs into the MLflow run that is active, or into one of its own.

    ``tracking_uri`` and ``experiment_name`` are as MLflow takes them; by default what MLflow is set up with, such as
    by the environment's ``MLFLOW_TRACKING_URI``. Raises UserError where MLflow is missing.
    """

    def __init__(self, tracking_uri: str | None = None, experiment_name: str | None = None) -> None:
        try:
            import mlflow
        except ImportError:
            raise missing("mlflow", "mlflow") from None
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

    def numbers(self, values: Mapping[str, float], step: int | None) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def text(self, name: str, text: str, step: int) -> None:
        self._mlflow.set_tag(name, text[:LONGEST])

    def files(self, paths: Sequence[Path]) -> None:
        for path in paths:
            self._mlflow.log_artifact(str(path))

    def close(self) -> None:
        if self._is_own:
            self._mlflow.end_run()
