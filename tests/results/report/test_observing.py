"""Observed trainings in a report: trained once, kept and drawn."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from lossearch.cli.app import app
from lossearch.engine.launch import search
from lossearch.evaluators.measuring.observing import MOMENTS, RATIOS_AT, VALUES_AT, observe_training
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import known_task
from lossearch.evaluators.training.training import train_and_score
from lossearch.primitives.language.parser import parse
from lossearch.results.findings.observation import CoursePoint, GridPoint, Picture, observation_folder, read_observation
from lossearch.results.findings.tuned_losses import write_tuned
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.report.contents import gather_contents
from lossearch.results.report.page import render_page
from lossearch.studies import observation
from tests.lossearch.small import SMALL, finished_run
from tests.results.findings.test_tuned_forms import judge, tuned, verdict
from tests.results.report.browser import all_of, browser, console, opened, unfold

FIDELITY = TrainingSettings(steps=30, seeds=1, network="cnn", hidden=16)


def test_an_observed_training_equals_an_unobserved_one():
    from lossearch.evaluators.training.attached_loss import loss_for
    from lossearch.evaluators.training.calibration import calibration_factor

    task, formula = known_task("digits"), parse("ce(2*z)")
    observed = observe_training(formula, None, task, FIDELITY, seed=3)
    loss = loss_for(formula, task, FIDELITY)
    alone = train_and_score(loss, task, FIDELITY, 3, calibration_factor(loss, task, FIDELITY, 3))
    assert [point.step for point in observed.course][:: len(observed.course) - 1] == [0, 30]
    assert len(observed.course) == min(MOMENTS, 30) + 1
    assert observed.course[-1].fitness == pytest.approx(alone, abs=1e-6)
    assert observed.course[-1].loss < observed.course[0].loss
    validation = task.load().validation
    assert sum(observed.confusion) == len(validation)
    assert sum(observed.confusion[:: task.classes + 1]) / len(validation) == pytest.approx(alone, abs=1e-6)
    assert len(observed.values) == len(VALUES_AT) ** 2
    assert {a for a, _, _ in observed.ratios} == set(RATIOS_AT)
    center = next(value for a, b, value in observed.values if a == b == 0.0)
    assert center == pytest.approx(observed.course[-1].loss, rel=1e-4)
    assert observed.maps.shape == observed.images.shape == (8, 8, 8)


@pytest.mark.long
def test_losses_over_embeddings_verification_and_pixels_are_observed():
    pairs = observe_training(parse("ce(9*cosine)"), "learned", known_task("glyphs"), FIDELITY, seed=0)
    assert pairs.confusion == ()
    assert set(pairs.predicted.tolist()) == {-1}
    dense = TrainingSettings(steps=10, seeds=1, network="fcn", hidden=8, batch_size=8)
    pixels = observe_training(parse("ce(z)"), None, known_task("shapes_segmentation"), dense, seed=0)
    assert pixels.maps is None
    assert sum(pixels.confusion) == known_task("shapes_segmentation").load().validation.targets.numel()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    declared = SMALL.model_copy(update={"fidelity": SMALL.fidelity.model_copy(update={"network": "cnn", "hidden": 16})})
    return search(declared, run_dir=tmp_path_factory.mktemp("observed") / "run").path


def test_the_report_shows_the_observation_and_trains_once(run, tmp_path):
    first = CliRunner().invoke(app, ["report", str(run), "--top", "1", "--out", str(tmp_path / "a.html")])
    assert first.exit_code == 0
    assert "Training 1 of" in first.output
    again = CliRunner().invoke(app, ["report", str(run), "--top", "1", "--out", str(tmp_path / "b.html")])
    assert "Training" not in again.output
    board = Leaderboard(run)
    kept = read_observation(observation_folder(run, board[0].loss_id))
    assert kept.form.reason is None
    assert len(kept.embedded) == len(known_task("digits").load().validation)
    with browser() as driver:
        opened(driver, tmp_path / "a.html")
        unfold(driver)
        assert console(driver) == []
        drawn = {element.get_attribute("id") for element in all_of(driver, ".plot")}
        assert drawn >= {
            f"{figure}-1" for figure in ("course-fitness", "course-gradient", "confusion", "embedded-0", "maps")
        }
        assert drawn >= {"grid-value-0-1", "grid-ratio-0-1"}
        assert len(all_of(driver, "#maps-1 image")) == 2 * 8
        assert len(all_of(driver, "#confusion-1 image")) == 1


def test_a_tuned_loss_and_cross_entropy_beside_it_are_trained_with_their_tuned_numbers(tmp_path, monkeypatch):
    trainings = []

    def train(formula, class_weights, task, fidelity, seed):
        trainings.append((str(formula), fidelity.learning_rate))
        none, course = torch.zeros(0), [CoursePoint(0, 2.0, 0.1, 1.0), CoursePoint(1, 1.0, 0.9, 0.5)]
        return SimpleNamespace(
            course=course,
            confusion=(3, 0, 0, 3),
            embeddings=none,
            targets=none,
            predicted=none,
            values=[],
            ratios=[],
            images=None,
            maps=None,
        )

    monkeypatch.setattr(observation, "observe_training", train)
    rows = finished_run(tmp_path / "run").leaderboard.rows[:2]
    rate = SMALL.fidelity.learning_rate
    observation.observe(tmp_path / "run", 2, print)
    assert set(trainings) == {*((row.formula, rate) for row in rows), ("ce(z)", rate)}
    trainings.clear()
    (tmp_path / "run" / "tuning").mkdir()
    tuned_formula = f"1.5*({rows[0].formula})"
    found = tuned(rows[0].formula, tuned_formula, 1, rate=0.37)
    write_tuned(tmp_path / "run" / "tuning", [found, tuned("cross_entropy", "ce(z)", None, "baseline", rate=0.07)])
    assert "One training of the form that the search found under" in render_page(gather_contents(tmp_path / "run", 2))
    observation.observe(tmp_path / "run", 2, print)
    first = str(parse(tuned_formula))
    assert trainings == [(first, 0.37), ("ce(z)", 0.07)]  # the second loss was not tuned
    page = render_page(gather_contents(tmp_path / "run", 2))
    assert "One training of its tuned form 1.5*(" in page
    assert "with its tuned learning rate of 0.37 under" in page
    assert "One training under" in page
    assert "-lr0.37-" in page
    (tmp_path / "run" / "verdict").mkdir()
    judge(tmp_path / "run", verdict(rows[0].formula, tuned_formula, 1))
    report = gather_contents(tmp_path / "run", 2)
    assert report.survivors[0].trained_as == " with its tuned learning rate of 0.37"  # the section shows this form
    observation.observe(tmp_path / "run", 2, print)
    assert len(trainings) == 2


def test_a_report_without_training_shows_the_rest(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "observation", ignore_errors=True)
    (tmp_path / "run" / "experiment.toml").unlink()
    done = CliRunner().invoke(app, ["report", str(tmp_path / "run"), "--top", "1"])
    assert done.exit_code == 0
    assert "Not trained: " in done.output
    assert "No survivor was trained for the report" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("record", "fields"),
    [
        (Picture, {"height": 2, "width": 0, "image": (), "map": ()}),
        (Picture, {"height": 2, "width": 2, "image": (0.0,) * 4, "map": (0.0,) * 3}),
        (GridPoint, {"what": "other", "a": 0.0, "b": 0.0, "value": 1.0}),
        (GridPoint, {"what": "value", "a": 0.0, "b": 0.0, "value": float("nan")}),
    ],
)
def test_values_that_cannot_be_drawn_are_no_records(record, fields):
    with pytest.raises(ValueError, match="Expected"):
        record(**fields)


def test_an_unreadable_observation_is_reported(run):
    board = Leaderboard(run)
    folder = observation_folder(run, board[0].loss_id)
    whole = (folder / "course.parquet").read_bytes() if folder.exists() else b""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "form.parquet").touch()
    (folder / "course.parquet").write_bytes(whole[:50])
    report = gather_contents(run, 1)
    assert any("cannot be read" in sentence for sentence in report.missing)
    assert report.survivors[0].observation is None
