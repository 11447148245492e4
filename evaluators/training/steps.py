"""Steps: trainings report the steps that they take to a listener of their process, which shows the progress."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Function that takes the number of further steps, summed over trainings.
Listener = Callable[[int], None]

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def reporting_steps_to(listener: Listener | None) -> Iterator[None]:
    """Report the steps of trainings within the block to a listener."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def report_steps(steps: int) -> None:
    """Report a number of steps, summed over the trainings that took them together."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(steps)
