"""Download the data of a task, if its publisher allows programs to."""

from lossearch.evaluators.data import lfw, torchvision_data
from lossearch.evaluators.data.data_home import DataMissing, is_filled, raw_folder, shown_path
from lossearch.evaluators.tasks.downloaded import COUNTERS
from lossearch.evaluators.tasks.registry import TASKS, known_task
from lossearch.primitives.errors import UserError


def require_downloaded(name: str) -> dict[str, int] | None:
    """Count the images of each part of a known task's data without decoding them; None where that takes long.

    Raises UserError if the data is not there, or if what reads it cannot be imported. It may still be damaged.
    """
    if name in torchvision_data.PUBLISHED:
        torchvision_data.require_readable(name)
    return COUNTERS[name]() if name in COUNTERS else None


def list_downloaded() -> list[str]:
    """List the tasks on published data whose files are there, complete or not."""
    published = [name for name in torchvision_data.PUBLISHED if torchvision_data.has_files(name)]
    return [*published, *(name for name in COUNTERS if is_filled(raw_folder(name)))]


def download_task(name: str) -> str:
    """Fetch the data of a task, and say where it is.

    Raises UserError, with the page if only a person can get the data there.
    """
    task = known_task(name)
    if not task.needs_download:
        names = sorted(known.name for known in TASKS.values() if known.needs_download)
        raise UserError(f"The task {name} needs no download. Tasks that do: {', '.join(names)}.")
    if task.data_from != f"lossearch download {name}":
        raise DataMissing(
            f"The data of the task {name} cannot be fetched by a command. Get it from {task.data_from} and put it into "
            f"{shown_path(raw_folder(name))}."
        )
    folder = lfw.download() if name == lfw.NAME else torchvision_data.download(name)
    return f"{name} is in {shown_path(folder)}"
