"""Model cards: results with intervals, measured behaviour, usage, and text of a run that stays harmless."""

import ast
import math

import pytest

from lossearch.evaluators.screening.screening import rejection
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.parser import parse
from lossearch.primitives.modules.torch_loss import loss_module
from lossearch.results.export.behaviour import (
    CLASSES,
    find_failures,
    find_minimum,
    measure_first_gradient,
    measure_slope_on_wrong,
    set_orthogonal_weights,
    trace_way_to_class,
)
from lossearch.results.export.exportable import of_formula, of_known, of_module, of_row
from lossearch.results.export.model_card import Evidence, model_card
from lossearch.results.ranking.rows import leaderboard_rows
from lossearch.results.statistics.intervals import interval
from lossearch.results.storage.fresh_seed_test import FreshSeedTest
from tests.results.helpers import evaluation, refused

OWN = "ce(z) + 0.5*mean_c(p)"
EVALUATIONS = [
    *(evaluation("ce(z)", seed, fitness) for seed, fitness in enumerate((0.90, 0.92, 0.91))),
    *(evaluation(OWN, seed, fitness, birth="point", generation=2) for seed, fitness in enumerate((0.93, 0.94, 0.95))),
    refused("p - p"),
]
TRIAL = FreshSeedTest(fitness=0.93, cross_entropy=0.92, difference=0.01, difference_std=0.06, seeds=6)


def evidence(trial=None, evaluations=EVALUATIONS, formula=OWN):
    rows = leaderboard_rows(evaluations)
    (row,) = [row for row in rows if row.formula == formula]
    return Evidence(row, rows, evaluations, trial)


def card(trial=None, evaluations=EVALUATIONS, formula=OWN):
    kept = evidence(trial, evaluations, formula)
    return model_card(of_row(kept.row, "run-7"), "own.py", "py", kept)


def card_of(name, file="loss.py", **values):
    loss = CATALOG[name]
    return model_card(of_known(loss, loss.values(values)), file, file.rpartition(".")[2])


def at_right_angles(name, **values):
    return set_orthogonal_weights(CATALOG[name].module(num_classes=CLASSES, embedding_size=CLASSES + 2, **values))


def test_students_interval_is_the_textbooks():
    # t(0.975, 2) = 4.302653; mean .03, standard deviation .01, three values
    low, high = interval([0.02, 0.03, 0.04])
    assert (low, high) == (
        pytest.approx(0.03 - 4.302653 * 0.01 / 3**0.5),
        pytest.approx(0.03 + 4.302653 * 0.01 / 3**0.5),
    )
    assert interval([0.5]) is None


def test_a_card_shows_results_and_baselines_with_intervals():
    text = card()
    assert "0.9400 ± 0.0100 over 3 seeds, rank 1 of 2 losses" in text
    # differences .03, .02, .04: mean .03, interval .03 -+ 4.302653 * .01/sqrt(3)
    assert "+0.0300 (95 % interval +0.0052 to +0.0548, 3 seeds)" in text
    assert "| `cross_entropy` | 0.9100 ± 0.0100 |" in text
    assert "The loss was chosen from 2 by this very score" in text
    assert "run-7" in text


def test_a_test_under_fresh_seeds_is_reported_with_its_standard_error():
    # t(0.975, 5) = 2.570582; standard error .06/sqrt(6) = .0244949
    expected = (
        "difference +0.0100 with a standard error of 0.0245, 95 % interval -0.0530 to +0.0730, under 6 fresh seeds"
    )
    assert f"{expected}; no difference is shown." in card(TRIAL)
    assert "It was not trained again under fresh seeds." in card()


def test_failed_trainings_are_reported():
    failed = evaluation(OWN, 3, None, status="failed", reason="diverged at step 3 of 10: the loss is not finite")
    text = card(evaluations=[*EVALUATIONS, failed])
    assert "4 trainings in the run: `diverged at step 3 of 10" in text
    assert "No accuracy: failed, `diverged at step 3" in text
    assert "3 trainings in the run: none failed" in card()


def test_a_card_without_a_run_says_that_there_are_no_results():
    text = card_of("arcface")
    assert "None here" in text
    assert "Deng et al." in text
    assert "| `m` | 0.5 | 0 to 1.5 |" in text


def test_text_of_a_run_is_inert():
    hostile = [evaluation(OWN, 0, 0.9, fidelity="<script>alert(1)</script>`|", birth="# [x](javascript:1)")]
    hostile_evidence = Evidence(leaderboard_rows(hostile)[0], leaderboard_rows(hostile), hostile)
    text = model_card(of_row(hostile_evidence.row, "<b>run</b>"), "x.py", "py", hostile_evidence)
    assert "<script>" not in text
    assert "](" not in text


@pytest.mark.parametrize("field", ["fidelity", "birth", "task"])
def test_markup_of_a_run_is_shown_as_code(field):
    hostile = "- *bold* https://evil.example @octocat # title"
    changed = [evaluation(OWN, 0, 0.9, **{field: hostile})]
    with_markup = Evidence(leaderboard_rows(changed)[0], leaderboard_rows(changed), changed)
    for line in model_card(of_row(with_markup.row, hostile), "x.py", "py", with_markup).splitlines():
        outside_code = "".join(line.split("`")[::2])
        assert "evil" not in outside_code
        assert "octocat" not in outside_code


def test_failing_inputs_are_found():
    assert find_failures(loss_module(parse("ce(z)"))) == []
    (first, *_) = find_failures(loss_module(parse("exp(z)*exp(z)*exp(z) + ce(z)")))
    assert first.startswith("the value is")


def test_a_loss_that_does_not_ask_for_certainty_is_recognised():
    assert find_minimum(loss_module(parse("ce(z)"))) == pytest.approx(0.999)
    # sum over classes of -log p + y/p, the rest even: least at p_t = 1/sqrt(C)
    assert find_minimum(CATALOG["baikal"].module()) == pytest.approx(10**-0.5, abs=2e-3)
    assert "where it is least: **where the target has probability 0.32**" in card_of("baikal")
    assert "where it is least: at certainty" in card_of("cross_entropy")
    assert find_minimum(loss_module(parse("ce(z)*0 + 1"))) is None


def test_a_loss_that_drives_samples_away_from_their_class_is_recognised():
    # cos(theta + m) rises again beyond pi - m; the grid has steps of pi/314
    for margin in (0.5, 1.0):
        start, end = trace_way_to_class(at_right_angles("arcface", m=margin)).away
        assert start == pytest.approx(math.pi - margin, abs=0.011)
        assert end == pytest.approx(math.pi - 0.1, abs=0.011)
    for name in ("arcface_monotone", "sub_center_arcface", "am_softmax", "normalized_softmax", "a_softmax", "pedcc"):
        way = trace_way_to_class(at_right_angles(name))
        assert (way.is_finite, way.away, way.flat) == (True, None, None), name
    assert "**beyond an angle of 2.65 rad to the weight of its class it drives a sample away" in card_of("arcface")
    assert "at no angle does its gradient drive a sample away" in card_of("arcface_monotone")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("norm", "**at angles of 1.58 to 3.04 rad to the weight of its class it moves no sample**"),
        ("detach(ce(cosine)) + 0*norm", "first gradient: **none** on random inputs"),
        ("square(norm - 1)", "it moves no sample"),
        ("relu(at_target(0.2 - cosine))", "at no angle does its gradient drive a sample away"),
        ("relu(at_target(0.5 + cosine))", "it drives a sample away"),
        ("relu(at_target(-cosine - 0.5))", "**at angles of 1.58 to 2.09 rad to the weight of its class it moves no"),
        ("-at_target(cos(3*arccos(cosine)))", "**at angles of 1.05 to 2.09 rad to the weight of its class it drives"),
        (
            "exp(400*norm)*exp(400*norm)*exp(400*norm)*at_target(cosine)",
            "**its gradient is not finite at every angle**",
        ),
    ],
)
def test_the_way_of_a_sample_to_its_class_is_described(text, found):
    # cos(3 theta) rises from pi/3 = 1.047 to 2 pi/3 = 2.094; arccos(-.5) = 2.094
    assert found in model_card(of_formula(parse(text), {}), "x.py")


def test_a_loss_over_progress_is_measured_from_start_to_end():
    text = model_card(of_formula(parse("relu(progress - 0.6)*ce(z)"), {}), "x.py")
    assert "at progress 0, its gradient: **it has none**" in text
    assert "at progress 1, where it is least: at certainty" in text


def test_the_first_gradient_is_compared_with_cross_entropys():
    assert measure_first_gradient(CATALOG["cross_entropy"].module()) == pytest.approx(1.0)
    assert measure_first_gradient(loss_module(parse("4*ce(z)"))) == pytest.approx(4.0)
    assert (
        "4 times cross-entropy's on random inputs, without a factor: as a start, divide cross-entropy's learning rate"
        in model_card(of_formula(parse("4*ce(z)"), {}), "x.py")
    )


def test_a_plateau_that_includes_certainty_is_at_certainty():
    assert "where it is least: at certainty" in card_of("hinge")


def test_a_loss_that_gives_up_on_hard_samples_is_recognised():
    # |gradient| of ce is (1 - p)*sqrt(1 + 1/9), of mae p times that, up to a factor
    assert measure_slope_on_wrong(CATALOG["cross_entropy"].module()) == pytest.approx(1.0)
    assert measure_slope_on_wrong(CATALOG["mae"].module()) == pytest.approx(0.001 * 0.999 / 0.25, rel=1e-3)
    assert "gives up on samples that are badly wrong" in card_of("mae")
    assert "gives up" not in card_of("focal")


@pytest.mark.parametrize("text", ["detach(ce(z))", "1 + 0*ce(z)", "sign(z)"])
def test_a_flat_loss_is_called_flat(text):
    formula = parse(text)
    page = model_card(of_formula(formula, {}), "x.py", rejected=rejection(formula))
    assert "**rejected**: `flat" in page
    assert "at certainty" not in page
    assert "its gradient: **it has none**" in page


def test_equal_differences_have_no_interval_that_looks_certain():
    equal = [
        *(evaluation("ce(z)", seed, fitness) for seed, fitness in enumerate((0.90, 0.92))),
        *(evaluation(OWN, seed, fitness) for seed, fitness in enumerate((0.91, 0.93))),
    ]
    assert "+0.0100 (no interval: the 2 differences are equal, possibly by chance with so few seeds)" in card(
        evaluations=equal
    )


def test_the_card_of_a_known_loss_says_that_it_was_not_selected():
    text = card(formula="ce(z)")
    assert "It is a known loss that the search began with. Choosing it for this score flatters it" in text
    assert "| `cross_entropy` | 0.9100 ± 0.0100 | this loss |" in text
    assert "chosen from" not in text


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("my_loss.py", "from my_loss import Loss"),
        ("my_loss.onnx", 'session = onnxruntime.InferenceSession("my_loss.onnx")'),
        ("my_loss.pt2", 'loss = torch.export.load("my_loss.pt2").module()'),
    ],
)
def test_the_card_says_how_to_use_the_file(file, line):
    assert line in card_of("pedcc", file)
    assert ("num_classes=100" in card_of("pedcc", file)) == file.endswith(".py")
    assert ("On the CPU" in card_of("pedcc", file)) == file.endswith(".py")


@pytest.mark.parametrize("file", ["my-loss.py", 'a"b.py', "x y.py", "```.py"])
def test_a_file_whose_name_is_no_module_is_named_in_a_comment(file):
    text = card_of("focal", file)
    assert "# Loss is the class in " in text
    block = text.split("```python\n")[1].split("\n```")[0]
    ast.parse(block)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"class_weights": "pedcc"}, False),
        ({"class_weights": "pedcc", "fine_tune_from": 0.5}, True),
        ({"class_weights": "learned"}, True),
    ],
)
def test_the_example_optimises_the_learned_weights(options, line):
    module = CATALOG["am_softmax"].module(num_classes=3, embedding_size=2, **options)
    text = model_card(of_module(module), "x.py")
    assert ("*loss.parameters()" in text) == line
    assert ("set_progress" in text) == ("fine_tune_from" in options)
