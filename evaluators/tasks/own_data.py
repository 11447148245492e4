"""A user's own data as an experiment file declares it, and the task on it."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag, TypeAdapter

from lossearch.evaluators.tasks.arrays import ArrayData, array_task
from lossearch.evaluators.tasks.folder import FolderData, folder_task
from lossearch.evaluators.tasks.task import Task

#: A folder of images, or a file of arrays.
OwnData = FolderData | ArrayData

#: Each kind of data by the key that identifies it.
KINDS: dict[str, type[OwnData]] = {"folder": FolderData, "arrays": ArrayData}


def _find_kind(declared: Any) -> str:
    is_arrays = isinstance(declared, ArrayData) or (isinstance(declared, dict) and "arrays" in declared)
    return "arrays" if is_arrays else "folder"


#: Data of either kind, identified by its keys. Pydantic puts the kind into the location of an error.
DeclaredData = Annotated[
    Annotated[FolderData, Tag("folder")] | Annotated[ArrayData, Tag("arrays")], Discriminator(_find_kind)
]

_DECLARED: TypeAdapter[OwnData] = TypeAdapter(DeclaredData)


def own_data(declared: Any) -> OwnData:
    """Parse a table of a file. Raises pydantic's ValidationError."""
    return _DECLARED.validate_python(declared)


def own_task(name: str, data: OwnData) -> Task:
    """Make the task on a user's data. Raises UserError if the data cannot be read or divided."""
    return array_task(name, data) if isinstance(data, ArrayData) else folder_task(name, data)
