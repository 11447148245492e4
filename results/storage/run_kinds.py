"""What a directory is instead of the run that was looked for: another kind of run, a folder of runs, or unknown."""

import os
from pathlib import Path

from lossearch.primitives.errors import shown, similar
from lossearch.results.storage.run_files import FOLDERS, FOLDERS_OF_FOLDERS

#: File of the declaration of a search.
_OF_SEARCH = "experiment.toml"

#: What a directory is by the file of its declaration, and the command for it.
_KINDS_OF_RUNS = {
    _OF_SEARCH: ("a search", "'lossearch leaderboard {path}' shows its losses"),
    "comparison.toml": ("a comparison", "'lossearch compare --run-dir {path} --resume' prints its table"),
    "fidelity.toml": ("a fidelity study", "'lossearch fidelity --out {path}' with its options prints its table"),
    "explanation.toml": ("an explanation", "'lossearch explain' with its options prints it"),
}

#: Most runs that a message names.
_MAX_RUNS = 5


def no_run_at(path: Path, lacks: str) -> str:
    """Describe a path that is no run's directory: what it is instead, what it ``lacks``, or what has a similar name."""
    kind = "a run" if lacks == _OF_SEARCH else _KINDS_OF_RUNS.get(lacks, ("a run", ""))[0]
    expected = f"{path}: expected the directory of {kind}"
    if os.path.isdir(path):
        instead = describe_directory(path, lacks)
        return f"{expected}, with {lacks} in it" if instead is None else f"{expected}, got {instead}"
    if os.path.exists(path):
        return f"{expected}, got a file"
    return f"{expected}, got no such directory{similar(path.name, _list_folders(path.parent))}"


def describe_directory(path: Path, lacks: str = "") -> str | None:
    """Say what a directory holds instead of the run that is looked for, and what to do; None if that is unknown.

    ``lacks`` is the file or folder that would make it the run that is looked for.
    """
    run = next((parent for parent in path.absolute().parents[:2] if (parent / _OF_SEARCH).is_file()), None)
    if run is not None and (path.name in FOLDERS or path.absolute().parent.name in FOLDERS_OF_FOLDERS):
        return f"a folder of the run {run.name}. Give the run itself"
    is_search = (path / _OF_SEARCH).is_file()
    for file, (kind, advice) in _KINDS_OF_RUNS.items():
        if file != lacks and (path / file).is_file() and not (is_search and lacks not in _KINDS_OF_RUNS):
            return f"the directory of {kind}: {advice.format(path=path)}"
    runs = [] if is_search else _list_runs(path)
    if not runs:
        return None
    named = ", ".join(shown(str(inside), 200) for inside in runs[:_MAX_RUNS])
    more = f" and {len(runs) - _MAX_RUNS} more" if len(runs) > _MAX_RUNS else ""
    return f"a folder of {'one run' if len(runs) == 1 else f'{len(runs)} runs, the newest first'}: {named}{more}"


def _list_runs(folder: Path) -> list[Path]:
    """List the runs and studies in a folder, the newest first."""
    try:
        inside = [entry for entry in folder.iterdir() if any((entry / file).is_file() for file in _KINDS_OF_RUNS)]
        return sorted(inside, key=lambda entry: (-entry.stat().st_mtime, entry.name))
    except OSError:
        return []


def _list_folders(folder: Path) -> list[str]:
    """List the names of the folders in a folder; none if it cannot be read."""
    try:
        return [entry.name for entry in folder.iterdir() if entry.is_dir()]
    except OSError:
        return []
