"""Tasks on a folder of a user's own images: their classes, or the identities of the people they show."""

from functools import lru_cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lossearch.evaluators.data.data_home import FileState, expand_path, list_files
from lossearch.evaluators.data.image_folder import ImageFolder
from lossearch.evaluators.networks import SMALLEST_IMAGE
from lossearch.evaluators.tasks.metrics import ACCURACY, VERIFICATION
from lossearch.evaluators.tasks.task import Task, image_training
from lossearch.primitives.errors import shown


class FolderData(BaseModel):
    """A folder of images, one subfolder for each class, and how to read it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    folder: str = Field(min_length=1, description="one subfolder of images for each class, or train, validation, test")
    size: int = Field(32, ge=SMALLEST_IMAGE, le=1_024, description="pixels each way that images are scaled to")
    grey: bool = Field(False, description="read images as shades of grey")
    broken: Literal["skip", "refuse"] = Field("skip", description="files that give no image: skip them, or refuse all")
    verification: bool = Field(False, description="classes are identities: verify pairs of those never trained on")

    def with_absolute_path(self) -> "FolderData":
        """Return the same data, whatever the working directory."""
        return self.model_copy(update={"folder": str(expand_path(self.folder).resolve())})

    def count_images(self) -> dict[str, int]:
        """Count the images of each part without decoding them. Raises UserError if the folder cannot be divided."""
        return {part: len(files) for part, files in self.reader().divided[1].items()}

    def reader(self) -> ImageFolder:
        """Return what lists, divides and decodes the images."""
        return ImageFolder(expand_path(self.folder), self.size, self.grey, self.broken, self.verification)

    def state(self) -> FileState:
        """List size and time of change of all files."""
        return list_files(expand_path(self.folder))


def folder_task(name: str, data: FolderData) -> Task:
    """Make the task on a folder of images. Raises UserError if the folder cannot be divided."""
    # One listing, so that all parts and the number of classes belong to one state of the folder.
    options = data.reader()
    suffix = "; pairs of identities that were not trained on" if data.verification else ""
    return Task(
        name,
        "own data",
        f"{data.size}x{data.size} {'grey' if data.grey else 'color'} images in {shown(data.folder)}{suffix}",
        options.training_classes,
        (1 if data.grey else 3, data.size, data.size),
        lru_cache(maxsize=1)(options.load),
        lru_cache(maxsize=1)(options.load_test),
        metric=VERIFICATION if data.verification else ACCURACY,
        fidelity=image_training(),
    )
