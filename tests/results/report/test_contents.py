"""Contents of the reports of complete, empty and damaged runs."""

import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lossearch.cli.app import app
from lossearch.results.leaderboard import Leaderboard, NotARun
from lossearch.results.records import BASELINE
from lossearch.results.report.contents import gather_contents
from lossearch.results.report.page import render_page, visible, write_report
from lossearch.results.storage.store import EvaluationStore
from tests.lossearch.small import finished_run
from tests.results.helpers import evaluation, refused


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("reported") / "run").path


def test_counts_of_the_generations_add_up_to_those_of_the_run(run):
    report, counts = gather_contents(run), Leaderboard(run).counts()
    assert [generation.number for generation in report.generations] == [1, 2, 3, 4]
    for status in ("evaluated", "failed"):
        assert sum(getattr(generation, status) for generation in report.generations) == counts.get(status, 0)
    rejected = [evaluation for evaluation in Leaderboard(run).evaluations if evaluation.status == "rejected"]
    assert sum(generation.rejected for generation in report.generations) == len(rejected)
    assert len({evaluation.loss_id for evaluation in rejected}) == counts["rejected"]
    assert report.generations[-1].best == pytest.approx(report.rows[0].fitness_mean)
    assert (report.name, report.task, report.metric, report.state) == ("small", "digits", "accuracy", "finished")
    refusals = sum(row.status in ("rejected", "failed") for row in report.rows)
    assert sum(count for _, _, count in report.reasons) == refusals > 0


def test_a_survivor_goes_back_to_losses_without_parents_and_says_what_each_step_gained(run):
    report = gather_contents(run, top=5)
    rows = {row.loss_id: row for row in report.rows}
    assert [survivor.row.rank for survivor in report.survivors] == [1, 2, 3, 4, 5]
    for survivor in report.survivors:
        first, *older = survivor.ancestors
        assert first.row == survivor.row
        assert {parent for ancestor in survivor.ancestors for parent in ancestor.row.parents} == {
            ancestor.row.loss_id for ancestor in older
        }
        for ancestor in survivor.ancestors:
            better = [
                rows[parent].fitness_mean for parent in ancestor.row.parents if rows[parent].fitness_mean is not None
            ]
            assert ancestor.gained == (pytest.approx(ancestor.row.fitness_mean - max(better)) if better else None)
        assert {point.loss for point in survivor.curves} >= {"focal"} | ({BASELINE} - {survivor.row.name})


def test_a_summary_has_the_settings_of_the_search(run):
    report = gather_contents(run, top=0)
    settings = dict(report.settings)
    assert settings["network"] == "mlp, embeddings of 64"
    assert settings["training"].startswith("12 steps of 64 samples, SGD with momentum 0.9, learning rate 0.1")
    assert settings["population"].startswith("6 losses, 4 generations")
    assert settings["seed of the search"] == "3"
    assert "lossearch" in settings["versions"]
    assert settings["starting losses"] == "cross_entropy, mse, ngl, am_softmax"
    assert settings["training"] in render_page(report)


def test_the_command_writes_one_file_and_prints_where(run, tmp_path):
    done = CliRunner().invoke(app, ["report", str(run), "--out", str(tmp_path / "a.html"), "--top", "1"])
    assert (done.exit_code, done.stdout.strip()) == (0, str(tmp_path / "a.html"))
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert text.count('<h2 id="survivor-') == 1
    assert "src=" not in text.partition("<script")[0]
    done = CliRunner().invoke(app, ["report", str(run), "--out", str(tmp_path / "no" / "a.html")])
    assert (done.exit_code, "expected a file in a directory that exists" in done.output) == (2, True)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(NotARun, match="expected the directory of a run"):
        write_report(tmp_path)


def test_reports_of_empty_and_new_runs_name_what_is_missing(tmp_path):
    (tmp_path / "evaluations").mkdir()
    report = gather_contents(tmp_path)
    assert any("No loss was trained" in sentence for sentence in report.missing)
    assert any("No generation has ended" in sentence for sentence in report.missing)
    assert "What is missing" in render_page(report)
    EvaluationStore(tmp_path / "evaluations").append([refused("p")])
    assert "No loss was trained" in render_page(gather_contents(tmp_path))
    EvaluationStore(tmp_path / "evaluations").append([evaluation("ce(z)"), evaluation("ce(2*z)", fitness=0.95)])
    report = gather_contents(tmp_path)
    assert [survivor.row.formula for survivor in report.survivors] == ["ce(2*z)", "ce(z)"]
    assert 'id="pareto"' in render_page(report)


def test_a_run_of_the_first_schema_is_shown(tmp_path):
    (tmp_path / "evaluations").mkdir()
    old = Path(__file__).parent.parent / "storage" / "evaluations_v1.parquet"
    shutil.copy(old, tmp_path / "evaluations" / "000001.parquet")
    report = gather_contents(tmp_path)
    assert [survivor.row.formula for survivor in report.survivors][:2] == ["mean_c(p)", "ce(z)"]
    assert 'id="pareto"' in render_page(report)
    assert any("No generation has ended" in sentence for sentence in report.missing)


def test_a_damaged_part_costs_that_part_alone(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    part = sorted((copy / "evaluations").glob("*.parquet"))[1]
    part.write_bytes(part.read_bytes()[:-30])
    (copy / "verdict").mkdir()
    (copy / "verdict" / "verdicts.parquet").write_text("no Parquet")
    (copy / "experiment.toml").write_bytes(b"\xff\xfe")
    (copy / "log.jsonl").write_text(
        '[1]\n{"event": [2]}\n{"event": "generation", "number": 1, "evaluated": "many"}\n{"event": "gen'
    )
    report = gather_contents(copy)
    assert any(part.name in sentence for sentence in report.missing)
    assert any("Verdicts cannot be read" in sentence for sentence in report.missing)
    assert report.survivors
    assert [generation.evaluated for generation in report.generations] == [0]
    assert part.name in render_page(report)


def test_a_survivor_without_a_valid_formula_is_reported_and_the_others_are_shown(tmp_path):
    EvaluationStore(tmp_path / "evaluations").append(
        [evaluation("ce(z)"), evaluation("import os", fitness=0.99), evaluation("ce(3*z)", fitness=0.95)]
    )
    report = gather_contents(tmp_path)
    assert [survivor.row.formula for survivor in report.survivors] == ["ce(3*z)", "ce(z)"]
    assert any(sentence.startswith("Rank 1 cannot be shown") for sentence in report.missing)


def test_invisible_characters_are_replaced():
    assert visible("a\x00b\u202ec\u2028d\x1b[2J") == "a\ufffdb\ufffdc\ufffdd\ufffd[2J"
    assert visible("é < ü") == "é < ü"


def test_a_run_without_a_trained_loss_says_so_first_and_counts_as_status_does(run, tmp_path):
    path = tmp_path / "refused"
    shutil.copytree(run, path)
    shutil.rmtree(path / "evaluations")
    births = [refused("p", birth_number=3), refused("p", birth_number=4, evaluation_id="another")]
    EvaluationStore(path / "evaluations").append(births)
    report = gather_contents(path)
    found = "Nothing: no loss was trained to the end."
    assert found in render_page(report)
    assert found not in render_page(gather_contents(run))
    assert report.candidates.rejected == 2
    assert any("nothing to rank: 2 rejected. Most frequent reason, 1 of 1: flat." in line for line in report.missing)
    shown = CliRunner().invoke(app, ["show", str(path), "1"])
    assert "expected the id (no loss has a rank) of a loss or a known loss of the run, got '1'" in shown.stderr


def test_a_report_of_a_run_that_cannot_be_written_trains_nothing_and_shows_the_rest(run, tmp_path, monkeypatch):
    def may(path, mode):  # root may write anywhere
        return not (mode & os.W_OK and Path(path).is_relative_to(run))

    monkeypatch.setattr(os, "access", may)
    done = CliRunner().invoke(app, ["report", str(run), "--out", str(tmp_path / "a.html")])
    assert done.exit_code == 0, done.stderr
    assert "Not trained: " in done.stderr
    assert "observation: expected a directory that can be written" in done.stderr
