"""Curves of losses against values and slopes known from formulas, and the sentences about them."""

import math
from dataclasses import replace

import pytest

from lossearch.primitives.language.parser import parse
from lossearch.results.findings.curve_facts import curve_facts, pulls
from lossearch.results.findings.curves import DEGREES, PROBABILITIES, Drawn, class_weights, curves

CE = Drawn("cross_entropy", parse("ce(z)"), 1.0)
FOCAL = Drawn("focal", parse("-sum_c(y*log(p)*(1 - p)**2)"), 2.0)
GCE = Drawn("gce", parse("at_target((1 - p**0.7)/0.7)"), 1.0)


def drawn(text, name="own", classes=10, factor=1.0, size=64):
    return curves([Drawn(name, parse(text), factor), CE], classes, size)


def line(points, name, which="target"):
    return [point for point in points if point.loss == name and point.line == which]


def test_cross_entropy_and_focal_have_their_textbook_values_and_slopes():
    """-log p has slope -1/p, and p - 1 in the logit; focal twice -(1-p)^2 log p, by Eq. (4) of Lin et al. 2017."""
    points = curves([FOCAL, CE], 10, 64)
    for point in line(points, "cross_entropy"):
        p = point.at
        assert point.value == pytest.approx(-math.log(p), rel=1e-9, abs=1e-12)
        assert point.slope == pytest.approx(-1.0 / p, rel=1e-6)
        assert point.slope_in_logit == pytest.approx(p - 1.0, rel=1e-6, abs=1e-12)
    for point in line(points, "focal"):
        p = point.at
        of_p = 2.0 * (2.0 * (1.0 - p) * math.log(p) - (1.0 - p) ** 2 / p)
        assert point.value == pytest.approx(-2.0 * (1.0 - p) ** 2 * math.log(p), rel=1e-6, abs=1e-12)
        assert point.slope == pytest.approx(of_p, rel=1e-5, abs=1e-9)
        assert point.slope_in_logit == pytest.approx(of_p * p * (1.0 - p), rel=1e-5, abs=1e-9)


def test_another_class_takes_the_targets_probability_while_the_others_hold_a_tenth():
    for point in line(drawn("ce(z)", classes=5), "own", "other"):
        assert point.target_probability == pytest.approx(0.9 - point.at, rel=1e-9, abs=1e-12)
        assert point.value == pytest.approx(-math.log(0.9 - point.at), rel=1e-6)
        assert point.slope_in_logit == pytest.approx(point.at, rel=1e-9)  # of cross-entropy: p of the other class


def test_with_two_classes_no_other_class_keeps_its_probability():
    for point in line(drawn("ce(z)", classes=2), "own", "other"):
        assert point.target_probability == pytest.approx(1.0 - point.at, rel=1e-9, abs=1e-12)


def test_a_loss_over_cosines_is_drawn_over_the_angle_and_so_is_cross_entropy():
    """z is 8 cos(angle) at the target, for an embedding of the length 8, and -1/9 of that at nine other classes."""
    points = drawn("ce(z*1) + 0*norm + at_target(1 - cosine)")
    assert {point.axis for point in points} == {"angle"}
    for point in line(points, "cross_entropy"):
        z = 8.0 * math.cos(point.at)
        cross_entropy = math.log(math.exp(z) + 9.0 * math.exp(-z / 9.0)) - z
        assert point.value == pytest.approx(cross_entropy, rel=1e-9)
        assert point.slope_in_logit is None
    for ours, theirs in zip(line(points, "own"), line(points, "cross_entropy"), strict=True):
        assert ours.value - theirs.value == pytest.approx(1.0 - math.cos(ours.at), rel=1e-6, abs=1e-9)
        assert ours.slope - theirs.slope == pytest.approx(math.sin(ours.at), rel=1e-6, abs=1e-9)


def test_an_embedding_on_its_class_center_has_no_distance():
    """At the angle a, centers of the embedding's length r = 8 are 2 r^2 (1 - cos a) away."""
    for point in line(drawn("at_target(dist2)"), "own"):
        assert point.value == pytest.approx(128.0 * (1.0 - math.cos(point.at)), rel=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_class_weights_are_equally_far_apart(classes):
    cosines = class_weights(classes) @ class_weights(classes).T
    for row in range(classes):
        for column in range(classes):
            expected = 1.0 if row == column else -1.0 / (classes - 1)
            assert cosines[row, column].item() == pytest.approx(expected, abs=1e-12)


def test_a_loss_with_progress_is_drawn_at_three_moments_and_with_a_uniform_prior():
    points = line(drawn("(1 + progress)*ce(z + log(prior))"), "own")
    halves = {moment: [point for point in points if point.progress == moment] for moment in (0.0, 0.5, 1.0)}
    for moment, drawn_then in halves.items():
        assert drawn_then[5].value == pytest.approx(-(1.0 + moment) * math.log(drawn_then[5].at), rel=1e-6)
    assert any(fact.startswith("At 50% of the training: ") for fact in curve_facts(points, "own"))


def test_pulls_are_at_the_probabilities_and_angles_that_they_name():
    for pull, p in zip(pulls(drawn("ce(z)")), PROBABILITIES, strict=True):
        assert pull.where == f"p = {p:g}"
        assert pull.of_loss["own"] == pytest.approx(1.0 - p, rel=1e-9)
    of_angle = pulls(drawn("at_target(1 - cosine)"))
    assert [pull.where for pull in of_angle] == [f"{degrees:g} degrees" for degrees in DEGREES]
    for pull in of_angle:
        assert pull.of_loss["own"] == pytest.approx(1.0, rel=1e-9)  # the derivative in the cosine


def facts(text):
    return " ".join(curve_facts(drawn(text), "own"))


def test_the_text_says_where_the_pull_vanishes():
    vanishes, stays = "Its pull vanishes as the target's probability goes to 0", "Its pull does not vanish as the"
    assert stays in facts("2*ce(z) + 0")
    assert vanishes in facts("at_target((1 - p**0.7)/0.7)")  # Zhang & Sabuncu 2018: p^q times cross-entropy's
    assert "0.04 times as hard at p = 0.01" in facts("at_target((1 - p**0.7)/0.7)")  # 0.01**0.7 = 0.0398
    assert "Its pull does not vanish at the target: it is 100% of the largest" in facts("-at_target(z)")
    assert "it pulls 2 times as hard at p = 0.01" in facts("2*ce(z)")


def test_the_text_says_where_the_value_is_least_and_where_it_rises():
    assert "falls all the way as the target's probability rises" in facts("ce(z)")
    smoothed = facts("0.9*ce(z) - 0.1*mean_c(log(p))")  # least where p is the smoothed target, 0.9 + 0.1/10
    assert "Its least value lies at p = 1 - 0.09, and not at the target" in smoothed or "p = 1 - 0.1" in smoothed
    assert "rises between" in smoothed
    assert "as far from the target as it can be" in facts("-ce(z)")


def test_a_loss_that_falls_as_another_class_takes_over_is_noticed():
    assert "As one other class takes the target's place, it rises all the way." in facts("ce(z)")
    assert "As one other class takes the target's place, it falls between" in facts("-ce(z)")


def test_a_loss_that_ignores_the_prediction_is_described_so():
    assert facts("p - p") == "The loss does not look at how probable the target is."


def test_cross_entropy_is_not_compared_with_itself():
    assert not any("beside cross-entropy" in fact for fact in curve_facts(curves([CE], 10, 64), "cross_entropy"))


@pytest.mark.parametrize(("axis", "at"), [("probability", 0.0), ("probability", 1.0), ("angle", 4.0), ("time", 0.5)])
def test_a_point_that_is_on_no_line_is_refused(axis, at):
    with pytest.raises(ValueError, match="Expected a probability"):
        replace(drawn("ce(z)")[0], axis=axis, at=at)
