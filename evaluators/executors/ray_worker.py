"""The worker of a Ray cluster: an actor, one process on one core or GPU, that evaluates what it is given.

Invariant: the data of a task that was sent to it takes the place of files; it needs none of its own.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import ray

from lossearch.evaluators.device import choose_device
from lossearch.evaluators.evaluation import evaluate
from lossearch.evaluators.executors.executor import merged
from lossearch.evaluators.tasks import use_sent
from lossearch.evaluators.tasks.given_tasks import PackedTask, unpacked
from lossearch.evaluators.training.state import State
from lossearch.evaluators.versions import versions
from lossearch.evaluators.work import Result, Work


@dataclass(frozen=True)
class Started:
    """What an actor tells when it is ready."""

    name: str
    node: str
    versions: Mapping[str, str]


class Worker:
    """The actor: one process on one core or GPU, which shares its node's memory with so many others."""

    def __init__(self, device: str, sharers: int) -> None:
        self._device, self._sharers = device, sharers
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._sent: dict[Any, str] = {}  # which data of a task is in use

    def ready(self) -> Started:
        choose_device(self._device)  # raises where the GPU that Ray counts is none to torch
        return Started(self._name, ray.get_runtime_context().get_node_id(), versions())

    def receive(self, *sent: Any) -> None:
        """Nothing is done with what an evaluation will need: Ray calls this once it has come to the node."""

    def evaluate(
        self, work: Work, label: str, sent: PackedTask | None, *states: Mapping[str, State]
    ) -> tuple[Result, dict[str, State]]:
        """The result without its states, and the states, which stay in the object store."""
        if sent is not None and self._sent.get((work.task, work.data)) != label:
            use_sent(work.task, work.data, unpacked(sent))
            self._sent[work.task, work.data] = label
        result = evaluate(replace(work, device=self._device), merged(states), self._sharers)
        return replace(result, states={}, worker=self._name), result.states
