"""Tasks on a file of the user's own arrays: classes of samples or of pixels, or identities to verify."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from lossearch.evaluators.data.array_file import read_arrays
from lossearch.evaluators.data.array_parts import with_classes_in_all, with_identities_apart
from lossearch.evaluators.data.splits import Splits
from lossearch.evaluators.networks.layers import SMALLEST_IMAGE
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.metrics import ACCURACY, MEAN_IOU, VERIFICATION
from lossearch.evaluators.tasks.task import Task
from lossearch.primitives.errors import shown


class ArrayData(BaseModel):
    """A file of arrays, and how it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    arrays: str = Field(
        min_length=1, description="an .npz file: inputs and targets, or train_inputs, train_targets, ..."
    )
    verification: bool = Field(False, description="classes are identities: verify pairs of those never trained on")

    def seen_from_anywhere(self) -> "ArrayData":
        """The same with a whole path."""
        return self.model_copy(update={"arrays": str(Path(self.arrays).resolve())})


def array_task(name: str, data: ArrayData) -> Task:
    """The task on a file of arrays. Raises UserError where the file cannot be read or divided."""
    path = Path(data.arrays)
    divided = with_identities_apart if data.verification else with_classes_in_all
    parts = divided(path, read_arrays(path))
    train = parts["train"]
    shape, dense = tuple(train.inputs.shape[1:]), train.targets.ndim > 1
    of_samples = VERIFICATION if data.verification else ACCURACY
    what = "; pairs of identities that were not trained on" if data.verification else ""
    splits = Splits(train, parts["validation"])
    return Task(
        name,
        "own data",
        f"inputs of shape {list(shape)} in {shown(data.arrays)}{what}",
        int(train.targets.max()) + 1,
        shape,
        lambda: splits,
        lambda: parts["test"],
        metric=MEAN_IOU if dense else of_samples,
        dense=dense,
        ignores_pixels=any(bool((each.targets < 0).any()) for each in parts.values()),
        fidelity=_training(shape, dense),
    )


def _training(shape: tuple[int, ...], dense: bool) -> TrainingSettings:
    """That of the tasks of the same kind that need no download."""
    if dense:
        return TrainingSettings(network="dense", batch_size=16, hidden=16, learning_rate=0.3, steps=400)
    is_image = len(shape) == 3 and min(shape[1:]) >= SMALLEST_IMAGE
    return TrainingSettings(network="resnet", learning_rate=0.1, steps=400) if is_image else TrainingSettings()
