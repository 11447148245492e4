"""Explanations: files, sentences, and hostile text."""

from dataclasses import replace

import pytest

from lossearch.primitives.identity.kinship import SAME
from lossearch.primitives.language.parser import parse
from lossearch.results.findings.comparison import Line
from lossearch.results.findings.curves import Drawn, curves
from lossearch.results.findings.explanation import Explanation, Form, PartEffect, folder_of, read_explanation
from lossearch.results.findings.explanation_text import as_data, as_markdown, sections
from lossearch.results.storage.tables import DamagedFile, write_records

FORM = Form(
    loss_id="0123456789", called="ce(2*z)", formula="ce(2*z)", canonical="ce(2*z)", latex="x", class_weights=None,
    task="digits", seeds=10, factor=0.5, rejected=None, nearest="cross_entropy", cosine=0.98, parts=3,
)  # fmt: skip
POINTS = curves([Drawn("ce(2*z)", parse("ce(2*z)"), 0.5), Drawn("cross_entropy", parse("ce(z)"), 1.0)], 10, 64)
EFFECT = PartEffect(
    "digits", "accuracy", "2", "factor", "ce(z)", "matters", 10, 0.95, 0.94, -0.01, -0.015, -0.005, 0.004
)  # fmt: skip
LINE = Line(
    "digits", "accuracy", "validation", "ce(2*z)", "ce(2*z)", "mlp", 10, 0, 0.95, 0.01, 0.01, 0.005, 0.015,
    0.004, "better", 0.5, 0.1, 1.0, None,
)  # fmt: skip
WHOLE = Explanation(FORM, POINTS, [EFFECT], [LINE])


def text_of(explanation=WHOLE, **changes):
    described = sections(replace(explanation, form=replace(explanation.form, **changes)), str)
    return {section.title: " ".join((*section.sentences, *section.conclusions)) for section in described}


def test_a_written_explanation_is_read_back(tmp_path):
    assert read_explanation(folder_of(tmp_path, "0123456789")) is None
    path = folder_of(tmp_path, "0123456789")
    path.mkdir(parents=True)
    WHOLE.write(path)
    assert read_explanation(path) == WHOLE
    assert path == tmp_path / "explanation" / "0123456789"


@pytest.mark.parametrize(
    ("cosine", "words"),
    [
        (1.0, "It is the known loss cross_entropy, up to a factor and a constant."),
        (SAME, "It is the known loss cross_entropy"),
        (0.995, "It is nearly the known loss cross_entropy: on the probe the cosine of their gradients is 0.9950"),
        (0.5, "The nearest known loss is cross_entropy: on the probe the cosine of their gradients is 0.5000"),
    ],
)
def test_the_nearest_known_loss_is_named(cosine, words):
    assert words in text_of(cosine=cosine)["What it is"]


def test_flat_and_rejected_losses_are_described():
    assert "it has no gradient on the probe" in text_of(nearest=None, cosine=None)["What it is"]
    assert "would reject it: flat." in text_of(rejected="flat")["What it is"]


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("matters", "These parts matter; without one of them the loss is worse: 2."),
        ("better without", "Without one of these parts the loss is better: 2."),
        (
            "no difference shown",
            "No difference is shown without these parts, though one within the interval is possible",
        ),
        ("too few seeds", "Too few seeds to say anything about these parts: 2."),
        ("moves no weight", "These parts move no weight: the gradient is the same without them: 2."),
    ],
)
def test_the_conclusion_about_a_part_follows_its_verdict(verdict, words):
    changed = replace(WHOLE, parts=[replace(EFFECT, verdict=verdict)])
    assert words in text_of(changed)["Which parts matter"]


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("no difference shown", "-0.0100, 95 % interval -0.0150 to -0.0050. No difference is shown: the simpler"),
        ("matters", "Left out together, the parts do matter."),
        ("too few seeds", "Nothing can be said about it."),
    ],
)  # fmt: skip
def test_the_conclusion_about_the_simplified_loss_follows_its_verdict(verdict, words):
    changed = replace(WHOLE, parts=[EFFECT, replace(EFFECT, kind="simplified", verdict=verdict)])
    assert words in text_of(changed)["Which parts matter"]
    failed = replace(EFFECT, kind="simplified", verdict="failed", mean=None, difference=None, reason="diverged")
    assert "was not trained to the end: diverged." in text_of(replace(WHOLE, parts=[failed]))["Which parts matter"]


def test_the_conclusions_about_tasks_follow_their_verdicts():
    lines = [LINE, replace(LINE, task="digits_noisy", verdict="worse"), replace(LINE, loss="focal", task="other")]
    text = text_of(replace(WHOLE, behaviour=lines))["Wrong labels and a long tail"]
    assert "It is better than cross-entropy on digits." in text
    assert "It is worse than cross-entropy on digits_noisy." in text
    assert "other" not in text


def test_behaviour_names_every_training():
    """Wrong labels are learned late, so 50 steps do not predict 200."""
    lines = [replace(LINE, fidelity=fidelity, task=task) for fidelity, task in (("mlp64-50x64", "a"), ("cnn-9x9", "b"))]
    text = text_of(replace(WHOLE, behaviour=[*lines, lines[0]]))["Wrong labels and a long tail"]
    assert "Trained as mlp64-50x64, cnn-9x9 (network, steps x batch size, learning rate)" in text


def test_conclusions_name_the_task_if_there_are_several():
    changed = replace(WHOLE, parts=[EFFECT, replace(EFFECT, task="shapes", verdict="better without")])
    text = text_of(changed)["Which parts matter"]
    assert "On digits: These parts matter" in text
    assert "On shapes: Without one of these parts the loss is better" in text


def test_hostile_text_is_shown_as_code():
    hostile = "a|b`<script>\n## x\x1b[31m"
    form = replace(FORM, called=hostile, canonical=hostile, nearest=hostile, rejected=hostile)
    part = replace(EFFECT, part=hostile, formula=hostile, task=hostile, measure=hostile, reason=hostile)
    line = replace(LINE, task=hostile, loss=hostile, verdict=hostile)
    points = [replace(point, loss=hostile) if point.loss == "ce(2*z)" else point for point in POINTS]
    card = as_markdown(Explanation(form, points, [part, replace(part, kind="simplified")], [line]))
    assert "<script>" not in card
    assert "\x1b" not in card
    assert "\n## x" not in card
    assert "a|b" not in card


def test_a_file_with_another_verdict_is_damaged(tmp_path):
    WHOLE.write(tmp_path)
    bad = replace(EFFECT)
    object.__setattr__(bad, "verdict", "<b>great</b>")
    write_records(tmp_path / "parts.parquet", PartEffect, [bad])
    with pytest.raises(DamagedFile, match=r"parts\.parquet"):
        read_explanation(tmp_path)
    write_records(tmp_path / "parts.parquet", PartEffect, [EFFECT])
    (tmp_path / "points.parquet").write_bytes(b"PAR1")
    with pytest.raises(DamagedFile, match=r"points\.parquet"):
        read_explanation(tmp_path)


def test_curves_without_points_or_finite_values_are_described():
    assert text_of(replace(WHOLE, points=[]))["How it pulls"]
    lost = [replace(point, value=None, slope=None, slope_in_logit=None) for point in POINTS]
    assert "not finite along most of the line" in text_of(replace(WHOLE, points=lost))["How it pulls"]


def test_the_data_for_json_has_the_facts_of_the_curves_without_their_points():
    data = as_data(WHOLE)
    assert data["form"]["cosine"] == 0.98
    assert data["pulls"][0]["of_loss"]["cross_entropy"] == pytest.approx(0.99)
    assert "points" not in data
