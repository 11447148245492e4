"""Proxies: trainings that stand in for a task's full one, each with fewer steps on a schedule of its own."""

from lossearch.evaluators.fidelity import Fidelity
from lossearch.results.findings.proxies import PROXIES


def proxy_of(full: Fidelity, proxy: str, seeds: int) -> Fidelity:
    """A proxy of a full training by its name, trained to its end under so many seeds."""
    return shortened(full, max(1, full.steps // PROXIES[proxy]), seeds)


def shortened(full: Fidelity, steps: int, seeds: int) -> Fidelity:
    """The training in so many steps under so many seeds; what counts steps shrinks with them, and rungs are left out.

    A plateau's epoch is one step at least. Beside another schedule an epoch says when a comparison saves trainings
    alone, and stays. Raises ValueError where a schedule of steps has no room.
    """
    epoch = full.epoch
    if full.schedule == "plateau" and epoch is not None:
        epoch = max(1, epoch * steps // full.steps)  # so that the rate may fall as often as in the full training
    changed = {
        "steps": steps,
        "seeds": seeds,
        "rungs": (),
        "milestones": tuple(each * steps // full.steps for each in full.milestones),
        "warm_up": full.warm_up * steps // full.steps,
        "epoch": epoch,
    }
    return Fidelity.model_validate(full.model_dump() | changed)
