"""Damaged files of every format that is read: an error of the user in one line, within bounds of time and memory."""

import json
import resource
import signal
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from PIL import Image

from lossearch.evaluators.data.data_home import raw_folder
from lossearch.evaluators.data.image_folder import ImageFolder
from lossearch.evaluators.data.images import BrokenImage, decode
from lossearch.evaluators.data.torchvision_data import read_torchvision
from lossearch.evaluators.tasks.arrays import ArrayData, array_task
from lossearch.evaluators.training.state import State
from lossearch.primitives.errors import LossearchError
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.storage.store import EvaluationStore
from lossearch.runs.directory import CHECKPOINT_VERSION, RunDirectory
from lossearch.runs.experiment import load_experiment
from lossearch.runs.status import status
from lossearch.studies.checkpoints import Checkpoints
from lossearch.studies.tuner import Tuner
from tests.evaluators.published_files import write_mnist
from tests.evaluators.small_images import write_image
from tests.results.helpers import evaluation

DECLARED = """name = "x"
task = "digits"
seed = 3
[fidelity]
steps = 12
network = "mlp"
[evolution]
population = 6
generations = 4
seeds = ["cross_entropy", "mse", "-y*log(p)"]
terminals = ["p", "y", "z", "cosine"]
initial_depth = [2, 4]
crossover = 0.3
[executor]
kind = "inline"
"""

#: Bytes that a case may take beyond what the process has, and seconds of the processor.
MEMORY, SECONDS = 2**30, 2.0


@dataclass
class Format:
    """Writes a sound file into a folder and returns it; reads it again."""

    write: object
    read: object
    files: dict = field(default_factory=dict)


def write_text(name, text):
    def write(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        return folder / name

    return write


def write_npz(folder, compressed=False):
    rng = np.random.default_rng(0)
    save = np.savez_compressed if compressed else np.savez
    save(folder / "own.npz", inputs=rng.integers(0, 256, (24, 1, 8, 8), np.uint8), targets=np.arange(24) % 3)
    return folder / "own.npz"


def read_npz(file):
    return array_task("own", ArrayData(arrays=str(file)))


def write_picture(suffix, **options):
    def write(folder):
        rng = np.random.default_rng(0)
        image = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
        image.save(folder / f"a{suffix}", **options)
        return folder / f"a{suffix}"

    return write


def write_wide(folder):
    Image.fromarray(np.arange(144, dtype=np.uint16).reshape(12, 12) * 90).save(folder / "a.png")
    return folder / "a.png"


def write_prepared(folder):
    """Write a folder of images, and return a file of their prepared form."""
    for number in range(8):
        write_image(folder / "pets" / "ab"[number % 2] / f"{number}.png", number)
    ImageFolder(folder / "pets", 8).load()
    return next((folder / "home").rglob("about.json"))


def write_part(folder):
    (folder / "run" / "evaluations").mkdir(parents=True)
    store = EvaluationStore(folder / "run" / "evaluations")
    store.append([evaluation(seed=seed) for seed in range(3)])
    return next((folder / "run" / "evaluations").glob("*.parquet"))


def write_training(folder):
    arrays = (np.ones((3, 4), np.float32), np.zeros(5, np.float32))
    Checkpoints(folder).save("a", State(3, 1.0, arrays, arrays, arrays, 0.5))
    return folder / "a.npz"


def write_journal(folder):
    Tuner([], trials=1, seed=0).keep(folder / "studies.journal", "a")
    return folder / "studies.journal"


def add_study(journal):
    """Add a study to a journal as tuning does, and return the names of the others in it."""
    Tuner([], trials=1, seed=0).keep(journal, "added")
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    return [name for name in optuna.get_all_study_names(storage) if name != "added"]


def write_log(folder):
    write_text("run/experiment.toml", DECLARED)(folder)
    (folder / "run" / "evaluations").mkdir()
    events = [
        {"event": "started", "time": "2026-01-01T00:00:00"},
        {"event": "generation", "number": 3},
        {"event": "ended"},
    ]
    return write_text("run/log.jsonl", "".join(f"{json.dumps(event)}\n" for event in events))(folder)


def read_state(file):
    directory = RunDirectory(file.parent.parent)
    try:
        return directory.load_checkpoint()
    finally:
        directory.close()


def write_idx(folder):
    write_mnist(raw_folder("mnist"), each=(10, 1))
    return raw_folder("mnist") / "MNIST" / "raw" / "train-labels-idx1-ubyte"


STATE = json.dumps({"version": CHECKPOINT_VERSION, "generation": 2, "evolution": {"population": [["ce", 0.5]]}})

FORMATS = {
    "arrays": Format(write_npz, read_npz),
    "packed arrays": Format(lambda folder: write_npz(folder, compressed=True), read_npz),
    "declaration": Format(write_text("x.toml", DECLARED), lambda file: load_experiment(str(file))),
    "recorded": Format(write_text("run/experiment.toml", DECLARED), lambda file: RunDirectory.recorded(file.parent)),
    "checkpoint": Format(write_text("run/checkpoint/state.json", STATE), read_state),
    "log": Format(write_log, lambda file: status(file.parent)),
    "journal": Format(write_journal, add_study),
    "records": Format(write_part, lambda file: Leaderboard(file.parent.parent).rows),
    "training": Format(write_training, lambda file: Checkpoints(file.parent).load("a")),
    "prepared": Format(write_prepared, lambda file: ImageFolder(file.parents[3] / "pets", 8).load()),
    "idx": Format(write_idx, lambda file: read_torchvision("mnist", 10)),
    "png": Format(write_picture(".png"), lambda file: decode(file, 8)),
    "wide png": Format(write_wide, lambda file: decode(file, 8)),
    "jpeg": Format(write_picture(".jpg"), lambda file: decode(file, 8)),
    "gif": Format(write_picture(".gif"), lambda file: decode(file, 8)),
    "tiff": Format(write_picture(".tif", compression="tiff_lzw"), lambda file: decode(file, 8)),
    "webp": Format(write_picture(".webp"), lambda file: decode(file, 8)),
    "bmp": Format(write_picture(".bmp"), lambda file: decode(file, 8)),
    "ppm": Format(write_picture(".ppm"), lambda file: decode(file, 8)),
}


def damage(content, rng):
    """Flip, cut, repeat or insert bytes, once or a few times."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        start = int(rng.integers(0, len(data) + 1))
        length = int(rng.integers(1, 9))
        kind = rng.integers(0, 5)
        if kind == 0:
            for place in rng.integers(0, max(len(data), 1), length):
                data[place : place + 1] = bytes([int(rng.integers(0, 256))])
        elif kind == 1:
            del data[start:]
        elif kind == 2:
            del data[start : start + length]
        elif kind == 3:
            data[start:start] = data[start : start + 32 * length]
        else:
            data[start : start + length] = rng.choice([b"\xff", b"\x00", b"9", b"[", b"."]) * length
    return bytes(data)


@contextmanager
def bounded():
    """Bound the memory of this process, and raise TimeoutError if the block takes too long."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    used = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line)

    def stop(number, frame):
        raise TimeoutError("a damaged file took too long")

    handler = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_DATA, (1_024 * used + MEMORY, before[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_DATA, before)
        signal.signal(signal.SIGPROF, handler)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cases", [6, pytest.param(112, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path, monkeypatch, name, cases):
    monkeypatch.setenv("LOSSEARCH_DATA", str(tmp_path / "home"))
    file = FORMATS[name].write(tmp_path)
    content = file.read_bytes()
    FORMATS[name].read(file)
    rng = np.random.default_rng([cases, *name.encode()])
    for number in range(cases):
        damaged = damage(content, rng)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(damaged)
        try:
            with bounded():
                FORMATS[name].read(file)
        except (LossearchError, BrokenImage) as error:
            message = str(error)
            assert message.count("\n") == 0, message
            assert 10 < len(message) < 2_000, message
        except Exception as error:
            error.add_note(f"case {number} of {name}: {damaged[:4_000]!r}")
            raise


def make_folder(path):
    path.mkdir()
    return path


def test_json_that_is_nested_deep_is_refused_in_one_line(tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    for name in ("checkpoint", "log", "journal"):
        file = FORMATS[name].write(make_folder(tmp_path / name))
        file.write_text(f"{deep}\n")
        if name == "checkpoint":
            with pytest.raises(LossearchError, match=r"state.json: expected JSON, got: .*recursion"):
                FORMATS[name].read(file)
        elif name == "log":
            assert FORMATS[name].read(file).generation == 0
        else:
            with pytest.warns(UserWarning, match="a line is damaged. Set aside as studies.journal.damaged"):
                assert FORMATS[name].read(file) == []


@pytest.mark.parametrize("line", ['{"a": 1}', "[]", "3", '{"op_code": 99, "worker_id": "a"}', '{"op_code": null}'])
def test_a_journal_of_json_that_is_not_optunas_is_set_aside(tmp_path, line):
    file = tmp_path / "studies.journal"
    file.write_text(f"{line}\n")
    with pytest.warns(UserWarning, match="Set aside as studies.journal.damaged; a new journal starts"):
        assert add_study(file) == []
    assert (tmp_path / "studies.journal.damaged").read_text() == f"{line}\n"
