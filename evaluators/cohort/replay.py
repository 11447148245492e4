"""Replay: a GPU records a training step once, as a CUDA graph, and repeats it without Python.

Invariant: a step that is replayed reads and writes tensors at fixed places on the device, and the host reads none of
their values.
"""

from collections.abc import Callable
from functools import lru_cache

import torch

#: Steps that run without a recording before one is recorded, as CUDA graphs need them.
WARM_UP = 3


class Replay:
    """Repetitions of one step. On a CPU every repetition runs as it is."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graph: torch.cuda.CUDAGraph | None = None

    def repeat(self, step: Callable[[], None], times: int) -> None:
        """Run the step ``times`` times. It must be the same step at every call."""
        if self._device.type != "cuda":
            for _ in range(times):
                step()
            return
        if self._graph is None and times > WARM_UP:
            self._warm_up(step)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):  # records the step and does not run it
                step()
            times -= WARM_UP
        for _ in range(times):
            if self._graph is None:
                step()
            else:
                self._graph.replay()

    def _warm_up(self, step: Callable[[], None]) -> None:
        """Run the first steps on a separate stream, until the allocator and cuBLAS have settled."""
        stream = _warm_up_stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                step()
        torch.cuda.current_stream(self._device).wait_stream(stream)


@lru_cache(maxsize=8)
def _warm_up_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the one stream for all warm-ups: cuBLAS keeps a workspace for every stream that it meets."""
    return torch.cuda.Stream(device)
