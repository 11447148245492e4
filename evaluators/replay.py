"""Replay: a training step that a GPU records once, as a CUDA graph, and repeats without Python.

Invariant: a step that is replayed reads and writes tensors at fixed places on the device, and looks at no value of
theirs on the host.
"""

from collections.abc import Callable

import torch

#: Steps that run as they are before one is recorded, as CUDA graphs need them.
WARM_UP = 3


class Replay:
    """Repeats a step; on a CPU every repetition runs as it is."""

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self._step, self._device = step, device
        self._graph: torch.cuda.CUDAGraph | None = None

    def repeat(self, times: int) -> None:
        """Run the step so many times more."""
        if self._device.type != "cuda":
            for _ in range(times):
                self._step()
            return
        if self._graph is None and times > WARM_UP:
            self._warm_up()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):  # records, and runs nothing
                self._step()
            times -= WARM_UP
        for _ in range(times):
            if self._graph is None:
                self._step()
            else:
                self._graph.replay()

    def _warm_up(self) -> None:
        """Run the first steps on a stream of their own, where the allocator and cuBLAS settle."""
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._step()
        torch.cuda.current_stream(self._device).wait_stream(stream)
