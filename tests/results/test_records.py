import pytest

from lossearch.primitives.modules.class_weights import KINDS
from lossearch.results.records import CLASS_WEIGHTS, loss_id
from tests.results.helpers import evaluation, refused


@pytest.mark.parametrize("name", ["fitness", "calibration", "seconds"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_evaluation_never_carries_a_number_that_is_not_finite(name, value):
    with pytest.raises(ValueError, match=f"Expected a finite {name}"):
        evaluation(**{name: value})


def test_a_fitness_stands_where_and_only_where_a_candidate_was_evaluated():
    with pytest.raises(ValueError, match="Expected a fitness"):
        evaluation(fitness=None)
    with pytest.raises(ValueError, match="Expected a fitness"):
        evaluation(status="failed", reason="diverged")


@pytest.mark.parametrize(
    ("name", "value"), [("fitness", 1e308), ("fitness", -0.1), ("calibration", -5.0), ("seed", -4)]
)
def test_an_evaluation_keeps_its_ranges(name, value):
    with pytest.raises(ValueError, match=f"Expected {name} between"):
        evaluation(**{name: value})


def test_a_failure_has_a_reason():
    with pytest.raises(ValueError, match="Expected a reason beside the status 'rejected'"):
        refused("p", reason=None)


def test_a_status_is_one_of_four():
    with pytest.raises(ValueError, match="Expected a status of evaluated, rejected, duplicate, failed"):
        evaluation(status="fine")


def test_loss_ids_follow_the_formula():
    assert loss_id("ce(z)") == loss_id("ce(z)") != loss_id("ce(p)")


def test_the_kinds_of_class_weights_are_the_languages():
    assert CLASS_WEIGHTS == KINDS
    with pytest.raises(ValueError, match="Expected class_weights of learned, pedcc, sub_centers, or none"):
        evaluation(class_weights="bogus")
