"""Doctor: find what is wrong with a machine or a cluster, and say what to do about it."""

import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lossearch.primitives.errors import UserError, shown

if TYPE_CHECKING:
    from lossearch.runs.declaration import Declaration

    #: Reads a declaration, and names its tasks.
    Reader = Callable[[], tuple[Declaration, Sequence[str]]]

State = Literal["ok", "warning", "problem"]

#: Bytes that should be free on the disk of a run, and in the memory that Ray's object store uses.
FREE_DISK, FREE_SHARED_MEMORY = 2 * 2**30, 2**29


@dataclass(frozen=True)
class Finding:
    """The result of one check; ``advice`` says what to do about a warning or a problem."""

    what: str
    state: State
    found: str
    advice: str = ""


def examine(
    runs: Path,
    ray_address: str | None = None,
    read: "Reader | None" = None,
    trackers: Mapping[str, Callable[[], object]] | None = None,
) -> Iterator[Finding]:
    """Check everything that a search needs, one thing after the other. Never raises.

    With ``read``, which reads a declaration, its data, networks and device are checked as well. ``trackers`` are
    functions by the name of the tracker that they make.
    """
    declared: list[Declaration] = []  # once it was read
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("python", _check_python),
        ("packages", _check_packages),
        ("torch", _check_torch),
        ("run directory", lambda: _check_writable("run directory", runs, "Give a --run-dir that can be written.")),
        ("data", _check_data),
        ("tasks", _check_tasks if read is None else lambda: _check_experiment(read, declared)),
        *((f"tracker {shown(name)}", partial(_check_tracker, name, make)) for name, make in (trackers or {}).items()),
        ("shared memory", _check_shared_memory),
        ("ray", lambda: _check_ray(ray_address, bool(declared) and declared[0].executor.kind == "inline")),
    ]
    for name, check in checks:
        try:
            yield from check()
        except UserError as error:
            yield Finding(name, "problem", shown(str(error), 300))
        except Exception as error:  # the other checks must still be made
            yield Finding(name, "problem", f"{type(error).__name__}: {shown(str(error), 300)}", "Please report it.")


def _check_python() -> Iterator[Finding]:
    running = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Finding("python", "ok" if fits else "warning", running, "" if fits else "Use Python 3.11 to 3.13.")


def _check_packages() -> Iterator[Finding]:
    from lossearch.evaluators.versions import installed

    needed = [requirement for requirement in requires("lossearch") or () if "extra ==" not in requirement]
    names = [re.split(r"[\s\[;<>=!~(]", requirement, maxsplit=1)[0] for requirement in needed]
    missing = sorted(set(names) - installed(names).keys())
    if missing:
        yield Finding("packages", "problem", f"missing: {', '.join(missing)}", "Run: pip install lossearch")
    else:
        yield Finding("packages", "ok", f"lossearch {version('lossearch')} with all that it needs")


def _check_torch() -> Iterator[Finding]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ", ".join(torch.cuda.get_device_name(number) for number in range(count)) or "no GPU: trains on the CPU"
    advice = ""
    if not count and shutil.which("nvidia-smi"):
        advice = "This machine seems to have a GPU: install a torch build that suits its driver."
    yield Finding("torch", "warning" if advice else "ok", f"{torch.__version__}, {names}", advice)


def _check_writable(name: str, path: Path, advice: str = "") -> Iterator[Finding]:
    """Check that files can be written below a directory, which may not exist yet, and how much room there is."""
    existing = next(folder for folder in (path.resolve(), *path.resolve().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        yield Finding(name, "problem", f"{existing}: {error.strerror}", advice)
        return
    free = shutil.disk_usage(existing).free
    is_short = free < FREE_DISK
    room = f"Make room: a long search needs {FREE_DISK // 2**30} GiB." if is_short else ""
    yield Finding(name, "warning" if is_short else "ok", f"{existing}: {free / 2**30:.1f} GiB free", room)


def _check_data() -> Iterator[Finding]:
    from lossearch.evaluators.data.data_home import data_home

    advice = "Set the environment variable LOSSEARCH_DATA to a directory that can be written."
    yield from _check_writable("data", data_home(), advice)


def _check_tasks() -> Iterator[Finding]:
    """Check that the data sets that were downloaded can be read here."""
    from lossearch.evaluators.tasks.download import list_downloaded, require_downloaded

    names = list_downloaded()
    for name in names:
        try:
            require_downloaded(name)
        except UserError as error:
            yield Finding(f"task {name}", "warning", shown(str(error), 300))
        else:
            yield Finding(f"task {name}", "ok", "its data is there")


def _check_experiment(read: "Reader", declared: "list[Declaration]") -> Iterator[Finding]:
    """Check a declaration, and for each of its tasks the data and the network. Add it to ``declared``."""
    try:
        experiment, tasks = read()
    except UserError as error:
        yield Finding("experiment", "problem", shown(str(error), 500), "Correct the file or its name.")
        return
    declared.append(experiment)
    yield Finding("experiment", "ok", f"{shown(experiment.name)} on {', '.join(map(shown, tasks))}")
    for name in tasks:
        yield _check_task(experiment, name)
        yield _check_network(experiment, name)
    yield from _check_device(experiment.executor.device)


def _check_task(declared: "Declaration", name: str) -> Finding:
    """Check that the data of a task is there and that what reads it can be imported. Published data is not decoded."""
    from lossearch.evaluators.tasks.download import require_downloaded
    from lossearch.evaluators.tasks.folder import FolderData

    task, what = declared.task_named(name), f"task {shown(name)}"
    shape = f"{task.classes} classes, inputs of {'x'.join(map(str, task.shape))}"
    try:
        data = declared.data.get(name)
        if isinstance(data, FolderData):
            count = sum(data.count_images().values())
            return Finding(what, "ok", f"{shape}; {count:,} images, which are decoded when the search starts")
        if task.needs_download:
            counts = require_downloaded(name)
            total = "its data is there" if counts is None else f"{sum(counts.values()):,} images"
            return Finding(what, "ok", f"{shape}; {total}")
        splits = task.load()
    except UserError as error:
        return Finding(what, "problem", shown(str(error), 500))
    return Finding(what, "ok", f"{shape}; {len(splits.train):,} samples to train on")


def _check_network(declared: "Declaration", name: str) -> Finding:
    """Check that the network of a task can be built."""
    from lossearch.runs.estimate import count_parameters

    task, fidelity = declared.task_named(name), declared.training_on(name)
    try:
        found = f"{fidelity.network}, {count_parameters(task, fidelity):,} parameters"
    except (UserError, ValueError, RuntimeError) as error:
        return Finding(f"network on {shown(name)}", "problem", shown(str(error), 300), "Choose another network.")
    return Finding(f"network on {shown(name)}", "ok", found)


def _check_device(device: str) -> Iterator[Finding]:
    from lossearch.evaluators.device import choose_device

    try:
        yield Finding("device", "ok", f"{device}: trains on {choose_device(device).type}")
    except UserError as error:
        yield Finding("device", "problem", shown(str(error), 300), "Set [executor] device to auto or cpu.")


def _check_tracker(name: str, make: Callable[[], object]) -> Iterator[Finding]:
    make()
    yield Finding(f"tracker {name}", "ok", "can be imported")


def _check_shared_memory() -> Iterator[Finding]:
    shared = Path("/dev/shm")
    if not shared.is_dir():
        yield Finding("shared memory", "ok", "none on this system: Ray uses files")
        return
    free = shutil.disk_usage(shared).free
    is_short = free < FREE_SHARED_MEMORY
    advice = "Ray will use slower files: in a container, start it with --shm-size=2g." if is_short else ""
    yield Finding("shared memory", "warning" if is_short else "ok", f"{free / 2**30:.1f} GiB free", advice)


def _check_ray(address: str | None, is_inline: bool = False) -> Iterator[Finding]:
    from lossearch.evaluators.executors.cluster_address import ClusterUnreachable, job_address, require_answer

    address = address or job_address()
    if is_inline and address is None:
        yield Finding("ray", "ok", "not needed: the experiment trains in its own process")
        return
    from lossearch.evaluators.executors.ray_cluster import about_nodes

    where = "on this machine" if address is None else f"at {shown(address)}"
    try:
        if address is not None:
            require_answer(address)
        nodes = about_nodes(address)
    except (ClusterUnreachable, UserError) as error:
        yield Finding("ray", "problem", f"{where}: {error}")
        return
    yield Finding("ray", "ok", f"{where}: {len(nodes)} {'node' if len(nodes) == 1 else 'nodes'}")
    for node in nodes:
        yield _check_node(node)


def _check_node(node: dict[str, str]) -> Finding:
    """Check that a node has the same versions of Python and decisive packages as this process."""
    from lossearch.evaluators.versions import versions

    name = f"node {shown(node.get('name', '?'), 60)}"
    if "error" in node:
        return Finding(name, "problem", shown(node["error"], 300), "Install lossearch on this node, as on the others.")
    differences = [
        f"{key} {shown(node[key], 20)}, here {mine}" for key, mine in versions().items() if node[key] != mine
    ]
    if differences:
        return Finding(name, "problem", "; ".join(differences), "Install the same versions on every node.")
    gpu = node.get("gpu", "no GPU")
    return Finding(name, "ok", f"{shown(node.get('cores', '?'), 10)} cores, {shown(gpu, 60)}")


def healthy(findings: Iterable[Finding]) -> bool:
    """Return True if no check found a problem."""
    return all(finding.state != "problem" for finding in findings)
