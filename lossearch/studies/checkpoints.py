"""Checkpoints of trainings: the state of a candidate, as arrays in a file without pickle."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from lossearch.evaluators.data.packed_arrays import PackedArrays
from lossearch.evaluators.training.state import State
from lossearch.results.storage.atomic import remove, write_whole
from lossearch.results.storage.run_files import MAX_CHECKPOINT, make_folder, open_run_file, plain_name

_KINDS = ("weights", "velocities", "buffers")


class Checkpoints:
    """A folder with a file for each training that was begun."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, name: str, state: State) -> None:
        """Replace the state under a name."""
        counts = {kind: len(getattr(state, kind)) for kind in _KINDS}
        about = {"step": state.step, "calibration": state.calibration, "seconds": state.seconds, "counts": counts}
        arrays: dict[str, Any] = {"about": np.array(json.dumps(about))}
        for kind in _KINDS:
            arrays |= {f"{kind}-{index}": array for index, array in enumerate(getattr(state, kind))}
        make_folder(self._path)
        content = io.BytesIO()
        np.savez(content, **arrays)
        write_whole(self._file(name), content.getvalue())

    def load(self, name: str) -> State | None:
        """Return the state under a name; None if there is none or its file cannot be read."""
        try:
            with open_run_file(self._file(name), MAX_CHECKPOINT) as file, PackedArrays(file) as arrays:
                about = json.loads(str(arrays.read("about")))
                weights, velocities, buffers = (
                    tuple(arrays.read(f"{kind}-{index}") for index in range(about["counts"][kind])) for kind in _KINDS
                )
                return State(about["step"], about["calibration"], weights, velocities, buffers, about["seconds"])
        except Exception:  # a damaged file can make its readers raise any error
            return None

    def forget(self, name: str) -> None:
        """Remove the state under a name."""
        if self._file(name).exists():
            remove(self._file(name))

    def _file(self, name: str) -> Path:
        return self._path / f"{plain_name(name)}.npz"
