"""Checkpoints of trainings: where candidates stand, as arrays in files that hold no pickle."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.state import State
from results.atomic import remove, write_whole

_KINDS = ("weights", "velocities", "buffers")


class Checkpoints:
    """A folder with a file for each piece of work that was begun."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, name: str, states: Mapping[str, State]) -> None:
        """Replace what is kept under a name by these states, each under the key of its candidate."""
        about = {key: [each.step, each.calibration, *_counts(each)] for key, each in states.items()}
        arrays: dict[str, Any] = {"about": np.array(json.dumps(about))}
        for number, state in enumerate(states.values()):
            for kind in _KINDS:
                arrays |= {f"{number}-{kind}-{place}": each for place, each in enumerate(getattr(state, kind))}
        self._path.mkdir(parents=True, exist_ok=True)
        write_whole(self._file(name), lambda temporary: _write(temporary, arrays))

    def load(self, name: str) -> dict[str, State]:
        """The states under a name; none where there are none, or where the file cannot be read."""
        try:
            with open(self._file(name), "rb") as file, np.load(file, allow_pickle=False) as arrays:
                about = json.loads(str(arrays["about"]))
                return {
                    key: State(step, factor, *_arrays(arrays, number, counts))
                    for number, (key, (step, factor, *counts)) in enumerate(about.items())
                }
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return {}

    def forget(self, name: str) -> None:
        """Remove what is kept under a name."""
        if self._file(name).exists():
            remove(self._file(name))

    def _file(self, name: str) -> Path:
        return self._path / f"{name}.npz"


def _counts(state: State) -> list[int]:
    return [len(getattr(state, kind)) for kind in _KINDS]


def _arrays(arrays: Any, number: int, counts: Sequence[int]) -> list[tuple[Any, ...]]:
    return [
        tuple(arrays[f"{number}-{kind}-{place}"] for place in range(count))
        for kind, count in zip(_KINDS, counts, strict=True)
    ]


def _write(path: Path, arrays: Mapping[str, Any]) -> None:
    with open(path, "wb") as file:  # by path, numpy would add an ending
        np.savez(file, **arrays)
