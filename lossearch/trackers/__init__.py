"""Trackers: callbacks that send the course of a search to TensorBoard, MLflow or Weights & Biases.

Each library is an optional extra, imported in one file alone. ``TensorBoard()``, ``MLflow()`` and ``WandB()`` name
their arguments as their libraries do.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lossearch.primitives.errors import UserError, shown, similar, unknown_attribute

if TYPE_CHECKING:
    from lossearch.callbacks import Callback
    from lossearch.trackers.mlflow import MLflow
    from lossearch.trackers.tensorboard import TensorBoard
    from lossearch.trackers.wandb import WandB

__all__ = ["MLflow", "TensorBoard", "WandB"]

#: Trackers by their names on the command line, which are also the names of their modules here.
NAMES = {"tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "WandB"}

_MODULES = {tracker: f"lossearch.trackers.{name}" for name, tracker in NAMES.items()}


def known_tracker(name: str) -> "Callback":
    """Create the tracker of this name, with the settings of its library on this machine.

    Raises UserError for an unknown name, or if its library is not installed.
    """
    if name not in NAMES:
        raise UserError(f"Expected a tracker, {', '.join(NAMES)}, got {shown(name)!r}{similar(name, NAMES) or '.'}")
    tracker: Callback = __getattr__(NAMES[name])()
    return tracker


def __getattr__(name: str) -> Any:
    """Import a tracker when it is first asked for."""
    if name not in _MODULES:
        raise AttributeError(unknown_attribute(__name__, name, __all__))
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
