"""The Ray cluster: joining one or starting one on this machine, and what its nodes have.

Invariant: a cluster that is started here listens on this machine alone, and nothing is sent anywhere.
"""

import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lossearch.evaluators.executors.cluster_address import ClusterUnreachable, require_answer
from lossearch.evaluators.versions import versions

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray._private import ray_constants, services
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled
from ray.exceptions import ActorUnavailableError, NodeDiedError, ObjectLostError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

#: Seconds in which a node must tell about itself, and a head let a process in.
NODE_TIMEOUT, WELCOME_TIMEOUT = 30.0, 12.0


def connect(address: str | None) -> None:
    """Join a cluster, or start one on this machine. Raises ClusterUnreachable within half a minute."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        with _on_loopback_alone():
            ray.init(address="local", include_dashboard=False, **options)
        return
    try:
        if not address.startswith("ray://"):  # else it is Ray's client that is asked
            address = _resolved(address)
            require_answer(address)
            _require_welcome(address)
        ray.init(address=address, **options)
    except (ConnectionError, RayError, RuntimeError, ValueError, TimeoutError) as error:
        raise ClusterUnreachable(f"No Ray cluster answered at {address!r}: {_in_one_line(error)} {_ADVICE}") from None


@contextmanager
def _on_loopback_alone() -> Iterator[None]:
    """Have a Ray that is started listen on the loopback interface alone.

    Ray has no setting for it but the one by which it keeps a laptop of another system out of clusters of several
    machines: so it stands for no longer than the start.
    """
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


_ADVICE = (
    "Start one with 'ray start --head'; if it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on its "
    "head; install the same versions of Ray and Python on all machines; or leave out --ray-address to use this one."
)


def _resolved(address: str) -> str:
    """The address as Ray will use it, also for auto. Raises RuntimeError where there is none."""
    found = services.canonicalize_bootstrap_address(address)
    if found is None:
        raise RuntimeError("no Ray cluster is running on this machine.")
    return str(found)


def _require_welcome(address: str) -> None:
    """Raise what is wrong, such as a missing token, where the cluster's head does not let this process in."""
    answers: list[Exception | None] = []

    def ask() -> None:
        try:
            GcsClient(address=address)
            answers.append(None)
        except Exception as error:  # whatever Ray makes of it
            answers.append(error)

    asking = threading.Thread(target=ask, daemon=True)  # which cannot be interrupted, but left behind
    asking.start()
    asking.join(WELCOME_TIMEOUT)
    answer = answers[0] if answers else TimeoutError(f"its head does not answer within {WELCOME_TIMEOUT:.0f} s.")
    if answer is not None:
        raise RuntimeError(_in_one_line(answer))


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:600]


@dataclass(frozen=True)
class Nodes:
    """The nodes that are there now: their ids, and cores and GPUs of all of them."""

    alive: frozenset[str]
    cores: int
    gpus: int


def nodes() -> Nodes:
    """What the cluster has now."""
    alive = [each for each in ray.nodes() if each["Alive"]]
    cores, gpus = (int(sum(each["Resources"].get(unit, 0) for each in alive)) for unit in ("CPU", "GPU"))
    return Nodes(frozenset(each["NodeID"] for each in alive), cores, gpus)


def about_nodes(address: str | None) -> list[dict[str, str]]:
    """What each node of a cluster has: name, cores, GPU, versions; or an ``error`` that says why it cannot be asked.

    With no address a cluster is started on this machine, and stopped. Raises ClusterUnreachable.
    """
    started_here = not ray.is_initialized()
    if started_here:
        connect(address)
    try:
        return [_about(node) for node in ray.nodes() if node["Alive"]]
    finally:
        if started_here:
            ray.shutdown()


def _about(node: Mapping[str, Any]) -> dict[str, str]:
    resources = node["Resources"]
    found = {"name": node["NodeManagerHostname"], "cores": f"{resources.get('CPU', 0):g}"}
    found |= {"gpu": f"{resources['GPU']:g} GPU"} if resources.get("GPU") else {}
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    try:
        asked = ray.remote(num_cpus=0)(versions).options(scheduling_strategy=there).remote()
        return found | ray.get(asked, timeout=NODE_TIMEOUT)
    except (RayError, TimeoutError) as error:
        return found | {"error": last_line(error)}


#: The line of a traceback that names an error.
_NAMED = re.compile(r"[\w.]*(Error|Exception)\b.*: ")


def last_line(error: Exception) -> str:
    """What an error of Ray's comes to: the last line that names an error, or the last one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in reversed(lines) if _NAMED.match(line)), lines[-1])[:200]


def vanished(error: Exception) -> bool:
    """Whether an actor was lost with its node, or the way to it, and not by what it did.

    The end of its process alone would be known as such. A result that was lost with its node is such a case, too.
    """
    lost = isinstance(error, ActorUnavailableError | NodeDiedError | ObjectLostError)
    return lost or "its node has died" in str(error)
