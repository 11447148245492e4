"""The settings of a training that shrink in a proxy with fewer steps."""

import pytest

from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.training.optimizers import Plateau
from lossearch.studies.fidelity import proxy_of, shortened

PLATEAU = TrainingSettings(steps=8_000, schedule="plateau", epoch=1_000, patience=2, decay=0.5)


def scale_at_the_end(fidelity):
    """Return the factor of a plateau at the end of a training whose score never rises."""
    plateau = Plateau()
    for _ in range(fidelity.steps // fidelity.epoch):
        plateau.look(0.0, fidelity)
    return plateau.scale


@pytest.mark.parametrize(("proxy", "epoch"), [("1/8", 125), ("1/4", 250), ("1/2", 500), ("all steps", 1_000)])
def test_a_plateau_falls_as_often_in_a_proxy_as_in_the_full_training(proxy, epoch):
    short = proxy_of(PLATEAU, proxy, 1)
    assert short.epoch == epoch
    # of 8 looks the first is the best; the 4th and the 7th come after more than 2 without a better one
    assert scale_at_the_end(short) == scale_at_the_end(PLATEAU) == 0.25


def test_an_epoch_of_a_plateau_is_one_step_at_least():
    assert shortened(TrainingSettings(steps=80, schedule="plateau", epoch=3), 20, 1).epoch == 1


@pytest.mark.parametrize("more", [{"schedule": "cosine"}, {"schedule": "step", "milestones": (40,)}])
def test_an_epoch_for_saving_states_is_kept(more):
    assert shortened(TrainingSettings(steps=80, epoch=10, **more), 20, 1).epoch == 10
    assert shortened(TrainingSettings(steps=80, **more), 20, 1).epoch is None
