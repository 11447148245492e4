"""A Ray cluster, joined or started on this machine, and its nodes.

Invariant: a cluster that is started here listens only on this machine, and sends nothing anywhere.
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
from lossearch.primitives.errors import Argument

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray._private import ray_constants, services
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled
from ray.exceptions import ActorUnavailableError, NodeDiedError, ObjectLostError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

#: Seconds that a node has to report its versions, and that a head has to admit this process.
NODE_TIMEOUT, ADMISSION_TIMEOUT = 30.0, 12.0


def connect(address: str | None) -> None:
    """Join a cluster, or start one on this machine. Raises ClusterUnreachable within half a minute."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        try:
            with _loopback_only():
                ray.init(address="local", include_dashboard=False, **options)
        except Exception as error:  # Ray gives its processes half a minute, and raises a plain Exception then
            ray.shutdown()
            raise ClusterUnreachable(
                f"Ray did not start on this machine: {_one_line(error)} Try again when the machine is less busy, or "
                'train in this process: executor = "inline".'
            ) from None
        return
    try:
        if address == "auto":
            _use_token_of_this_machine()
        if not address.startswith("ray://"):  # Ray's client does its own checks
            address = _resolve(address)
            require_answer(address)
            _require_admission(address)
        ray.init(address=address, **options)
    except (ConnectionError, RayError, RuntimeError, ValueError, TimeoutError) as error:
        reason = _one_line(error)
        if {"auth", "token"} <= set(re.findall("auth|token", reason.lower())):
            raise ClusterUnreachable(
                "Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on its head ('ray get-auth-token' prints it there): the "
                f"Ray cluster at {address} admits nobody without its token."
            ) from None
        raise ClusterUnreachable(f"No Ray cluster answered at {address!r}: {reason} ", *_ADVICE) from None


@contextmanager
def _loopback_only() -> Iterator[None]:
    """Make a Ray that is started listen only on the loopback interface.

    The only setting for this is the one with which Ray keeps Windows and macOS out of clusters of several machines. It
    would also keep this process from joining a cluster, so it is restored after the start.
    """
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


_ADVICE = (
    "Start one with 'ray start --head'; install the same versions of Ray and Python on all machines; or leave out ",
    Argument("ray_address"),
    " to use this one.",
)


def _use_token_of_this_machine() -> None:
    """Use the token that Ray keeps in the home directory, as ``ray start --head`` and ``ray.init("auto")`` do."""
    try:
        from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
    except ImportError:  # an older Ray, which asks for no token by itself
        return
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def _resolve(address: str) -> str:
    """Return the address that Ray will use, also for auto. Raises RuntimeError if there is none."""
    resolved = services.canonicalize_bootstrap_address(address)
    if resolved is None:
        raise RuntimeError("no Ray cluster is running on this machine.")
    return str(resolved)


def _require_admission(address: str) -> None:
    """Raise RuntimeError with the reason, such as a missing token, if the head does not admit this process."""
    answers: list[Exception | None] = []

    def ask() -> None:
        try:
            GcsClient(address=address)
            answers.append(None)
        except Exception as error:  # Ray raises many kinds
            answers.append(error)

    asking = threading.Thread(target=ask, daemon=True)  # it cannot be interrupted, only left behind
    asking.start()
    asking.join(ADMISSION_TIMEOUT)
    answer = answers[0] if answers else TimeoutError(f"its head does not answer within {ADMISSION_TIMEOUT:.0f} s.")
    if answer is not None:
        raise RuntimeError(_one_line(answer))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:600]


@dataclass(frozen=True)
class Nodes:
    """The living nodes: their ids, and the number of their cores and GPUs together."""

    alive: frozenset[str]
    cores: int
    gpus: int


def living_nodes() -> Nodes:
    """Return the nodes that the cluster has now."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    cores, gpus = (int(sum(node["Resources"].get(unit, 0) for node in alive)) for unit in ("CPU", "GPU"))
    return Nodes(frozenset(node["NodeID"] for node in alive), cores, gpus)


def about_nodes(address: str | None) -> list[dict[str, str]]:
    """Ask each node of a cluster for name, cores, GPU and versions, or give the ``error`` that kept it from answering.

    With no address a cluster is started on this machine, and stopped. Raises ClusterUnreachable.
    """
    started_here = not ray.is_initialized()
    if started_here:
        connect(address)
    try:
        return [_describe(node) for node in ray.nodes() if node["Alive"]]
    finally:
        if started_here:
            ray.shutdown()


def _describe(node: Mapping[str, Any]) -> dict[str, str]:
    resources = node["Resources"]
    description = {"name": node["NodeManagerHostname"], "cores": f"{resources.get('CPU', 0):g}"}
    description |= {"gpu": f"{resources['GPU']:g} GPU"} if resources.get("GPU") else {}
    on_node = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    try:
        reference = ray.remote(num_cpus=0)(versions).options(scheduling_strategy=on_node).remote()
        return description | ray.get(reference, timeout=NODE_TIMEOUT)
    except (RayError, TimeoutError) as error:
        return description | {"error": last_line(error)}


#: The line of a traceback that names an error.
_ERROR_LINE = re.compile(r"[\w.]*(Error|Exception)\b.*: ")


def last_line(error: Exception) -> str:
    """Shorten an error of Ray's to the last line that names an error, or to the last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in reversed(lines) if _ERROR_LINE.match(line)), lines[-1])[:200]


def is_node_loss(error: Exception) -> bool:
    """Return True if an actor or its result was lost with its node or the network, and not through its own work.

    Ray reports the end of a process alone as another error.
    """
    is_lost = isinstance(error, ActorUnavailableError | NodeDiedError | ObjectLostError)
    return is_lost or "its node has died" in str(error)
