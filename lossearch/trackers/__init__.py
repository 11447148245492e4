"""Trackers: callbacks that send how a search goes to TensorBoard, MLflow or Weights & Biases.

Each is an optional extra of its own name, imported in its own file alone. ``TensorBoard()``, ``MLflow()`` and
``WandB()`` take the names that their libraries give to what they take.
"""

from typing import TYPE_CHECKING, Any

from lossearch.primitives.errors import UserError, nearest, shown

if TYPE_CHECKING:
    from lossearch.callbacks import Callback
    from lossearch.trackers.mlflow import MLflow
    from lossearch.trackers.tensorboard import TensorBoard
    from lossearch.trackers.wandb import WandB

__all__ = ["MLflow", "TensorBoard", "WandB", "known_tracker"]

#: What trackers are called in a command, and their classes.
NAMES = {"tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "WandB"}


def known_tracker(name: str) -> "Callback":
    """The tracker of this name, as its library is set up on this machine.

    Raises UserError for an unknown name, or where its library is not installed.
    """
    if name not in NAMES:
        raise UserError(f"--track: expected {', '.join(NAMES)}, got {shown(name)!r}{nearest(name, NAMES)}.")
    made: Callback = __getattr__(NAMES[name])()
    return made


def __getattr__(name: str) -> Any:
    """Import the tracker that is asked for."""
    if name == "TensorBoard":
        from lossearch.trackers.tensorboard import TensorBoard

        return TensorBoard
    if name == "MLflow":
        from lossearch.trackers.mlflow import MLflow

        return MLflow
    if name == "WandB":
        from lossearch.trackers.wandb import WandB

        return WandB
    raise AttributeError(f"module 'lossearch.trackers' has no attribute {name!r}")
