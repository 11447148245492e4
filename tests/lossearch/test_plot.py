"""Figures on their own, and the HTML of tables and formulas in notebooks."""

import html.parser
import os
import shutil

import pytest

import lossearch
from lossearch.primitives.errors import UserError
from lossearch.primitives.language.parser import parse
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.storage.store import EvaluationStore
from lossearch.studies.observation import observe
from tests.lossearch.small import SMALL, finished_run
from tests.results.helpers import evaluation


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("drawn") / "run").path


def test_figures_show_the_values_of_the_run(run):
    board = Leaderboard(run)
    front = [trace for trace in lossearch.plot.pareto(run).data if trace.name == "Pareto front"]
    assert list(front[0].y) == sorted(row.fitness_mean for row in board.rows if row.pareto)
    best, _, baseline = lossearch.plot.progress(board).data
    assert best.y[-1] == pytest.approx(board.rows[0].fitness_mean)
    assert baseline.y[0] == next(row.fitness_mean for row in board.rows if row.name == "cross_entropy")
    assert sum(map(sum, (bar.y for bar in lossearch.plot.outcomes(run).data))) > SMALL.evolution.population
    joined, *roles = lossearch.plot.family(run, rank=1).data
    assert sum(len(role.x) for role in roles) >= 1
    assert len(joined.x) % 3 == 0
    for loss in ("focal", "ce(2*z)", board[0], "ce(30*(cosine - 0.35*y))"):
        names = [trace.name for trace in lossearch.plot.curve(loss, "value").data]
        assert "cross_entropy" in names
        assert "focal" in names


def test_a_training_is_drawn_after_a_report_has_observed_it(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    drawn = [lossearch.plot.course, lossearch.plot.confusion, lossearch.plot.embeddings, lossearch.plot.landscape]
    for draw in drawn:
        with pytest.raises(UserError, match="the training of rank 1 was not observed yet"):
            draw(copy)
    observe(copy, 1, lambda said: None)
    for what in ("fitness", "loss", "gradient"):
        ours, baseline = lossearch.plot.course(copy, 1, what).data
        assert len(ours.x) == len(baseline.x) > 3
        assert baseline.name == "cross_entropy"
    (counts,) = lossearch.plot.confusion(copy).data
    assert sum(map(sum, counts.z)) == len(SMALL.task_named("digits").load().validation)
    assert len(lossearch.plot.embeddings(copy).data) == 10
    for what in ("value", "ratio"):
        assert len(lossearch.plot.landscape(copy, what=what).data[0].z) > 2
    with pytest.raises(UserError, match="Rank 1: its training shows no class maps"):
        lossearch.plot.class_maps(copy)  # by a perceptron
    with pytest.raises(UserError, match="Expected a rank from 1 to"):
        lossearch.plot.confusion(copy, 10_000)
    with pytest.raises(UserError, match="the training of rank 2 was not observed yet"):
        lossearch.plot.confusion(copy, 2)


@pytest.mark.long
def test_class_maps_are_drawn_of_networks_that_see_images(tmp_path):
    few = SMALL.evolution.model_copy(update={"seeds": ("cross_entropy", "mse"), "population": 2, "generations": 1})
    images = {"digits": SMALL.training_on("digits").model_copy(update={"network": "cnn", "steps": 3})}
    declared = SMALL.model_copy(update={"evolution": few, "fidelity_of": images})
    run = lossearch.search(declared, run_dir=tmp_path / "run").path
    observe(run, 1, lambda said: None)
    pictures = lossearch.plot.class_maps(run).data
    assert len(pictures) % 2 == 0
    assert {(len(picture.z), len(picture.z[0])) for picture in pictures} == {(8, 8)}


def test_missing_data_is_reported(run, tmp_path):
    with pytest.raises(UserError, match="Expected a rank from 1 to"):
        lossearch.plot.family(run, rank=10_000)
    with pytest.raises(UserError, match="did you mean focal"):
        lossearch.plot.curve("focall")
    EvaluationStore(tmp_path / "evaluations").append([evaluation("ce(z)")])
    with pytest.raises(UserError, match="expected a generation that has ended"):
        lossearch.plot.progress(tmp_path)


@pytest.mark.skipif(
    shutil.which("chromium") is None and os.environ.get("LOSSEARCH_BROWSER_TESTS") != "required",
    reason="pictures are drawn by a Chromium",
)
def test_a_figure_is_written_as_a_picture(tmp_path):
    figure = lossearch.plot.curve("ngl")
    for name, begins in (("a.svg", b"<svg"), ("a.png", b"\x89PNG")):
        figure.write_image(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begins)


def test_a_notebook_shows_tables_and_formulas_and_runs_nothing(tmp_path):
    hostile = "<script>alert(1)</script>"
    EvaluationStore(tmp_path / "evaluations").append(
        [evaluation("ce(z)"), evaluation("ce(2*z)", fitness=0.95, name=hostile, birth=hostile)]
    )
    board = Leaderboard(tmp_path)
    for shown in (board._repr_html_(), board[0]._repr_html_()):
        tags = []
        reader = html.parser.HTMLParser()
        reader.handle_starttag = lambda tag, _, tags=tags: tags.append(tag)
        reader.feed(shown)
        assert "ce(2*z)" in shown
        assert set(tags) <= {"table", "caption", "thead", "tr", "th", "td"}
    assert parse("p/y")._repr_latex_() == r"$\frac{p}{y}$"
    assert lossearch.loss("focal", gamma=3.0)._repr_latex_().count("3") >= 1
