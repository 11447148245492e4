from dataclasses import MISSING, fields

import pytest

from lossearch.primitives.language.terminals import TERMINALS
from lossearch.primitives.modules.class_weights import KINDS
from lossearch.results.records import CLASS_WEIGHTS, EMBEDDING_TERMINALS, RULES, Measurement, loss_id, takes_embeddings
from tests.results.helpers import evaluation, refused


@pytest.mark.parametrize("name", ["fitness", "calibration", "seconds"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_evaluation_never_carries_a_number_that_is_not_finite(name, value):
    with pytest.raises(ValueError, match=f"Expected a finite {name}"):
        evaluation(**{name: value})


def test_a_record_has_a_fitness_if_and_only_if_its_candidate_was_evaluated():
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
    with pytest.raises(ValueError, match="Expected a reason unless the status is 'evaluated', got reason=None"):
        refused("p", reason=None)


def test_a_status_is_one_of_four():
    with pytest.raises(
        ValueError, match="Expected status to be one of evaluated, rejected, duplicate, failed, got status='fine'"
    ):
        evaluation(status="fine")


@pytest.mark.parametrize("record_type", RULES)
def test_every_required_field_and_every_number_has_a_rule(record_type):
    names = {rule.field for rule in RULES[record_type]}
    required = {
        field.name for field in fields(record_type) if field.default is MISSING and "None" not in str(field.type)
    }
    assert required <= names
    assert {field.name for field in fields(record_type) if "float" in str(field.type)} <= names


def test_a_measurement_has_a_value_or_a_reason():
    values = dict.fromkeys(
        ("measurement_id", "task", "loss", "formula", "class_weights", "fidelity", "measure"), "pedcc"
    )
    for value, reason in ((None, None), (0.5, "diverged")):
        with pytest.raises(ValueError, match="Expected either a value or a reason"):
            Measurement(**values, seed=0, split="test", value=value, reason=reason)
    with pytest.raises(ValueError, match="Expected split to be one of validation, test, got split='train'"):
        Measurement(**values, seed=0, split="train", value=0.5)


def test_loss_ids_follow_the_formula():
    assert loss_id("ce(z)") == loss_id("ce(z)") != loss_id("ce(p)")


def test_the_kinds_of_class_weights_are_those_of_the_formula_language():
    assert CLASS_WEIGHTS == KINDS
    with pytest.raises(
        ValueError, match="Expected class_weights to be one of learned, pedcc, sub_centers, got class_weights='bogus'"
    ):
        evaluation(class_weights="bogus")


def test_the_terminals_that_look_at_embeddings_are_those_of_the_formula_language():
    assert set(EMBEDDING_TERMINALS) == {name for name, terminal in TERMINALS.items() if terminal.looks_at_embeddings}
    assert takes_embeddings("ce(30*(cosine - 0.35*y))")
    assert not takes_embeddings("ce(cos(z)) + not_cosine_1")
