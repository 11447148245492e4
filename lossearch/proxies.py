"""Proxies: trainings that stand in for a task's full one, each with fewer steps on a schedule of its own."""

from evaluators.fidelity import Fidelity
from results.proxy_values import PROXIES


def proxy_of(full: Fidelity, proxy: str, seeds: int) -> Fidelity:
    """A proxy of a full training by its name, trained to its end under so many seeds."""
    return shortened(full, max(1, full.steps // PROXIES[proxy]), seeds)


def shortened(full: Fidelity, steps: int, seeds: int) -> Fidelity:
    """The training in so many steps under so many seeds; what counts steps shrinks with them, and rungs are left out.

    Raises ValueError where a schedule of steps has no room.
    """
    changed = {
        "steps": steps,
        "seeds": seeds,
        "rungs": (),
        "milestones": tuple(each * steps // full.steps for each in full.milestones),
        "warm_up": full.warm_up * steps // full.steps,
    }
    return Fidelity.model_validate(full.model_dump() | changed)
