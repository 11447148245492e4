"""Data of the user's own that a task is made of, as a file declares it."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag, TypeAdapter

from lossearch.evaluators.tasks.arrays import ArrayData, array_task
from lossearch.evaluators.tasks.folder import FolderData, folder_task
from lossearch.evaluators.tasks.task import Task

#: A folder of images, or a file of arrays.
OwnData = FolderData | ArrayData


def _kind(declared: Any) -> str:
    is_arrays = isinstance(declared, ArrayData) or (isinstance(declared, dict) and "arrays" in declared)
    return "arrays" if is_arrays else "folder"


#: Each kind of data by the key that tells it.
KINDS: dict[str, type[OwnData]] = {"folder": FolderData, "arrays": ArrayData}

#: One of them, told by its keys; the kind stands in the place of an error.
DeclaredData = Annotated[
    Annotated[FolderData, Tag("folder")] | Annotated[ArrayData, Tag("arrays")], Discriminator(_kind)
]

_DECLARED: TypeAdapter[OwnData] = TypeAdapter(DeclaredData)


def own_data(declared: Any) -> OwnData:
    """What a table of a file declares. Raises pydantic's ValidationError."""
    return _DECLARED.validate_python(declared)


def own_task(name: str, data: OwnData) -> Task:
    """The task on it. Raises UserError where the data cannot be read or divided."""
    return array_task(name, data) if isinstance(data, ArrayData) else folder_task(name, data)
