"""Tasks on a file of a user's own arrays: classes of samples or of pixels, or identities to verify."""

from pydantic import BaseModel, ConfigDict, Field

from lossearch.evaluators.data.data_home import FileState, expand_path, list_files
from lossearch.evaluators.data.splits import Splits
from lossearch.evaluators.networks import SMALLEST_IMAGE
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.metrics import ACCURACY, MEAN_IOU, VERIFICATION
from lossearch.evaluators.tasks.task import PIXEL_TRAINING, Task, image_training
from lossearch.primitives.errors import shown


class ArrayData(BaseModel):
    """A file of arrays, and how to read it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    arrays: str = Field(
        min_length=1, description="an .npz file: inputs and targets, or train_inputs, train_targets, ..."
    )
    verification: bool = Field(False, description="classes are identities: verify pairs of those never trained on")

    def with_absolute_path(self) -> "ArrayData":
        """Return the same data, whatever the working directory."""
        return self.model_copy(update={"arrays": str(expand_path(self.arrays).resolve())})

    def state(self) -> FileState:
        """List size and time of change of the file."""
        path = expand_path(self.arrays)
        return list_files(path.parent, [path])


def array_task(name: str, data: ArrayData) -> Task:
    """Make the task on a file of arrays. Raises UserError if the file cannot be read or divided."""
    from lossearch.evaluators.data.array_file import read_arrays  # these import torch, which takes seconds
    from lossearch.evaluators.data.array_parts import divide_by_class, divide_by_identity

    path = expand_path(data.arrays)
    divide = divide_by_identity if data.verification else divide_by_class
    parts = divide(path, read_arrays(path))
    train = parts["train"]
    shape, dense = tuple(train.inputs.shape[1:]), train.targets.ndim > 1
    suffix = "; pairs of identities that were not trained on" if data.verification else ""
    splits = Splits(train, parts["validation"])
    return Task(
        name,
        "own data",
        f"inputs of shape {list(shape)} in {shown(data.arrays)}{suffix}",
        int(train.targets.max()) + 1,
        shape,
        lambda: splits,
        lambda: parts["test"],
        metric=MEAN_IOU if dense else VERIFICATION if data.verification else ACCURACY,
        dense=dense,
        ignores_pixels=any(bool((split.targets < 0).any()) for split in parts.values()),
        fidelity=_default_training(shape, dense),
    )


def _default_training(shape: tuple[int, ...], dense: bool) -> TrainingSettings:
    """Return the training of known tasks on similar inputs."""
    if dense:
        return PIXEL_TRAINING
    is_image = len(shape) == 3 and min(shape[1:]) >= SMALLEST_IMAGE
    return image_training() if is_image else TrainingSettings()
