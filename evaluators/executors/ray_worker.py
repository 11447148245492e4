"""The worker on a Ray cluster: an actor, one process on one core or GPU, that evaluates work.

Invariant: the worker needs no files of a task. The data of the task is sent to it.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import ray

from lossearch.evaluators.device import choose_device
from lossearch.evaluators.evaluation import evaluate
from lossearch.evaluators.executors.executor import merge_states
from lossearch.evaluators.executors.ray_board import BoardWriter
from lossearch.evaluators.tasks.packed_task import PackedTask, unpack_task
from lossearch.evaluators.tasks.registry import use_sent_task
from lossearch.evaluators.training.state import State
from lossearch.evaluators.training.steps import reporting_steps_to
from lossearch.evaluators.versions import versions
from lossearch.evaluators.work import Result, Work


@dataclass(frozen=True)
class Started:
    """The first report of a worker: its name, its node and its versions of Python and libraries."""

    name: str
    node: str
    versions: Mapping[str, str]


class Worker:
    """The actor. It shares the memory of its node with ``sharers`` workers, itself included."""

    def __init__(self, device: str, sharers: int, board: Any = None) -> None:
        self._device, self._sharers = device, sharers
        self._listener = None if board is None else BoardWriter(board)
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._label_of: dict[Any, str] = {}  # labels of the data in use, by task

    def ready(self) -> Started:
        """Report that the worker has started. Raises UserError if Ray counts a GPU that torch does not find."""
        choose_device(self._device)
        return Started(self._name, ray.get_runtime_context().get_node_id(), versions())

    def receive(self, *sent: Any) -> None:
        """Do nothing: Ray calls this once everything that an evaluation needs has reached the node."""

    def evaluate(
        self, work: Work, label: str, sent: PackedTask | None, *states: Mapping[str, State]
    ) -> tuple[Result, dict[str, State]]:
        """Evaluate work. Return the result without its states, and the states, which stay in the object store."""
        if sent is not None and self._label_of.get((work.task, work.data)) != label:
            use_sent_task(work.task, work.data, unpack_task(sent))
            self._label_of[work.task, work.data] = label
        with reporting_steps_to(self._listener):
            result = evaluate(replace(work, device=self._device), merge_states(states), self._sharers)
        return replace(result, states={}, worker=self._name), result.states
