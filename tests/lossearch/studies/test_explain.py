"""Explaining a loss: its parts left out, its behaviour, its files and its card, and the options that are refused."""

import json
from dataclasses import replace

import polars
import pytest
from typer.testing import CliRunner

import lossearch
from lossearch.cli.app import app
from lossearch.engine.launch import search
from lossearch.evaluators.tasks import TASKS
from lossearch.evaluators.work import Work, training_seed
from lossearch.primitives.errors import UserError
from lossearch.primitives.language.parser import parse
from lossearch.results.findings.explanation import folder_of, read_explanation
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.records import Measurement
from lossearch.results.statistics.paired_tests import paired_test
from lossearch.results.storage.store import RecordStore
from lossearch.results.storage.tables import DamagedFile
from lossearch.runs.directory import RunDirectory
from lossearch.runs.experiment import validated
from lossearch.runs.seed_ranges import EXPLANATION, SIMPLIFIED_LOSS
from lossearch.studies.ablation import ablations
from lossearch.studies.explain import explain
from lossearch.studies.explanation import BEHAVIOUR
from lossearch.studies.runner import StudyInterrupted
from tests.long_cases import long_unless
from tests.lossearch.small import SMALL, finished_run, stopped_at

SEEDS = 7  # smallest number for a winner among three losses


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run"
    finished_run(path)
    return path


@pytest.fixture(scope="module")
def of_run(run):
    return explain(run, rank=2, seeds=3)


@pytest.fixture(scope="module")
def quick():
    """A task on digits that is trained for a moment."""
    task = replace(TASKS["digits"], fidelity=TASKS["digits"].fidelity.model_copy(update={"steps": 12}))
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(TASKS, "digits", task)
        yield


@pytest.fixture(scope="module")
def of_formula(quick, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("formula")
    return explain("ce(z) + 0.0001*mean_c(p**2) + 3", task="digits", seeds=SEEDS, run_dir=run_dir)


def measured(path):
    records, damages = RecordStore(path / "measurements", Measurement).read()
    assert not damages
    return records


def untimed(path):
    return sorted(
        (replace(measurement, seconds=None, finished_at=None) for measurement in measured(path)),
        key=lambda measurement: measurement.measurement_id,
    )


def test_a_loss_of_a_run_is_explained_in_its_directory(run, of_run):
    row = Leaderboard(run).rows[1]
    assert of_run.path == folder_of(run, row.loss_id)
    form = of_run.explanation.form
    assert (form.loss_id, form.formula, form.canonical) == (row.loss_id, row.formula, row.formula)
    assert form.factor == row.calibration
    assert read_explanation(of_run.path) == of_run.explanation


def test_every_loss_is_trained_under_fresh_seeds_on_the_validation_split_alone(run, of_run):
    records = measured(of_run.path)
    assert {measurement.split for measurement in records} == {"validation"}
    fresh = {*range(EXPLANATION, EXPLANATION + 3), *range(SIMPLIFIED_LOSS, SIMPLIFIED_LOSS + 3)}
    assert {measurement.seed for measurement in records} <= fresh
    experiment = RunDirectory.recorded(run)
    trained = Work((), "digits", experiment.fidelity, experiment.seed)
    ours = {training_seed(replace(trained, measured="validation"), seed) for seed in fresh}
    theirs = {training_seed(trained, seed) for seed in (*range(1_000), *range(1_000_000, 1_000_006))}
    assert not ours & theirs


def test_the_test_split_is_not_loaded(quick, tmp_path, monkeypatch):
    def refused():
        raise AssertionError("the test split was loaded")

    for name in BEHAVIOUR:
        monkeypatch.setitem(TASKS, name, replace(TASKS[name], load_test=refused))
    assert explain("mse", task="digits", seeds=1, run_dir=tmp_path).explanation.behaviour


def test_the_training_is_the_searchs_on_its_task(run, of_run):
    fidelity = RunDirectory.recorded(run).fidelity
    assert {measurement.fidelity for measurement in measured(of_run.path)} == {fidelity.label()}


def test_behaviour_is_compared_with_cross_entropy_and_the_best_known_loss(run, of_run):
    board = Leaderboard(run)
    row = board.rows[1]
    best = next(other.name for other in board.rows if other.name not in (None, "cross_entropy", row.name))
    called = row.name or row.formula
    for task in BEHAVIOUR:
        lines = {line.loss: line for line in of_run.explanation.behaviour if line.task == task}
        assert set(lines) == {called, "cross_entropy", best}
        ours, theirs = (
            {
                record.seed: record.value
                for record in measured(of_run.path)
                if (record.task, record.loss, record.measure) == (task, loss, "accuracy")
                and record.seed < SIMPLIFIED_LOSS
            }
            for loss in (called, "cross_entropy")
        )
        if called != "cross_entropy":
            expected = paired_test([ours[seed] - theirs[seed] for seed in sorted(ours)])
            assert lines[called].difference == pytest.approx(expected.difference)
            assert (lines[called].low, lines[called].high) == (expected.low, expected.high)


def test_parts_that_move_no_weight_are_known_without_training(of_formula):
    parts = {part.part: part for part in of_formula.explanation.parts if part.kind == "term"}
    assert set(parts) == {"ce(z)", "+ 0.0001*mean_c(p**2)", "+ 3"}
    assert parts["+ 3"].verdict == "moves no weight"
    assert parts["+ 3"].mean is None
    assert parts["+ 3"].formula not in {measurement.formula for measurement in measured(of_formula.path)}


def test_the_rest_is_compared_with_the_whole_seed_by_seed(of_formula):
    (part,) = [part for part in of_formula.explanation.parts if part.part == "+ 0.0001*mean_c(p**2)"]
    assert part.formula == "ce(z) + 3"
    value = {
        (measurement.formula, measurement.seed): measurement.value for measurement in measured(of_formula.path)
        if measurement.task == "digits" and measurement.measure == "accuracy"
    }  # fmt: skip
    seeds = range(EXPLANATION, EXPLANATION + SEEDS)
    whole = of_formula.explanation.form.canonical
    expected = paired_test([value["ce(z) + 3", seed] - value[whole, seed] for seed in seeds])
    assert part.difference == pytest.approx(expected.difference)
    assert (part.low, part.high, part.seeds) == (expected.low, expected.high, SEEDS)


def test_the_simplified_loss_lacks_unimportant_parts_and_has_other_seeds(of_formula):
    """A ten-thousandth of a term changes no network's accuracy, or changes it both ways."""
    (single,) = [part for part in of_formula.explanation.parts if part.part == "+ 0.0001*mean_c(p**2)"]
    (simple,) = [part for part in of_formula.explanation.parts if part.kind == "simplified"]
    assert single.verdict == "no difference shown"
    assert simple.formula == "ce(z)"
    assert set(simple.part.split(", ")) == {"+ 0.0001*mean_c(p**2)", "+ 3"}
    values = [
        record.value
        for record in measured(of_formula.path)
        if record.formula == "ce(z)" and record.seed >= SIMPLIFIED_LOSS and record.measure == "accuracy"
    ]
    assert len(values) == SEEDS
    assert simple.mean == pytest.approx(sum(values) / SEEDS)


def test_a_part_whose_rest_cannot_train_says_why(of_formula):
    (part,) = [part for part in of_formula.explanation.parts if part.part == "ce(z)"]
    assert (part.verdict, part.mean) == ("does not train", None)
    assert "untrainable" in part.reason


def test_measurements_are_not_repeated_and_more_seeds_extend_them(quick, of_formula, tmp_path):
    before = {measurement.measurement_id for measurement in measured(of_formula.path)}
    run_dir, called = of_formula.path.parent.parent, "ce(z) + 0.0001*mean_c(p**2) + 3"
    again = explain(called, task="digits", seeds=SEEDS, run_dir=run_dir)
    assert again.explanation == of_formula.explanation
    assert {measurement.measurement_id for measurement in measured(of_formula.path)} == before
    more = explain(called, task="digits", seeds=SEEDS + 1, run_dir=run_dir)
    assert more.explanation.form.seeds == SEEDS + 1
    assert {measurement.measurement_id for measurement in measured(of_formula.path)} > before


@pytest.mark.parametrize("submissions", long_unless([0, 1, 3, 5], (3,)))
def test_resumed_explanation_equals_uninterrupted_explanation(quick, tmp_path, monkeypatch, submissions):
    options = {"task": "digits", "seeds": 2}
    whole = explain("0.5*ce(2*z) + mean_c(p)", run_dir=tmp_path / "whole", **options)
    with stopped_at(monkeypatch, submissions, StudyInterrupted):
        explain("0.5*ce(2*z) + mean_c(p)", run_dir=tmp_path / "stopped", **options)
    resumed = explain("0.5*ce(2*z) + mean_c(p)", run_dir=tmp_path / "stopped", **options)
    assert untimed(resumed.path) == untimed(whole.path)
    ours, theirs = resumed.explanation, whole.explanation
    assert (ours.form, ours.points, ours.parts) == (theirs.form, theirs.points, theirs.parts)
    timeless = [[replace(line, seconds=None) for line in explanation.behaviour] for explanation in (ours, theirs)]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("ce(16*(cosine - 0.2*y))", {"16", "cosine", "- 0.2*y"}),
        ("am_softmax(m=0.3)", {"30", "cosine", "- 0.3*y"}),
        ("ce(16*cosine) + at_target(dist2) [pedcc]", {"at_target(dist2)", "+ ce(16*cosine)"}),
        ("(1 + progress)*ce(z + log(prior))", {"1 + progress", "ce(z + log(prior))"}),
        ("ce(cosine*z)", {"cosine", "z"}),
        ("ce(z)", set()),
        ("focal", {"y", "log(p)", "(1 - p)**2"}),
    ],
)
def test_losses_of_every_kind_are_explained(quick, tmp_path, text, parts):
    explanation = explain(text, task="digits", seeds=1, run_dir=tmp_path).explanation
    shown = {part.part for part in explanation.parts if part.kind != "simplified"}
    assert shown == parts
    assert explanation.form.parts == len(shown)
    lines = [line for line in explanation.behaviour if line.loss == explanation.form.called]
    assert len(lines) == len(BEHAVIOUR)
    assert all(line.mean is not None for line in lines)
    over_embeddings = parse(explanation.form.canonical).looks_at_embeddings
    assert {point.axis for point in explanation.points} == {"angle" if over_embeddings else "probability"}


def test_a_formula_of_one_part_says_so(quick, tmp_path):
    from lossearch.results.findings.explanation_text import sections

    explanation = explain("ce(z)", task="digits", seeds=1, run_dir=tmp_path).explanation
    text = {section.title: section for section in sections(explanation, str)}
    assert text["Which parts matter"].sentences == ("It has only one part: there is nothing to leave out.",)
    assert text["Which parts matter"].tables == ()
    assert explanation.form.nearest == "cross_entropy"


def test_class_weights_that_do_not_suit_the_rest_are_no_error():
    """Without the norm only cosines are left, still over embeddings; without cosines, logits."""
    by_text = {ablation.text: ablation for ablation in ablations(parse("ce(16*cosine) + ce(z)"), "sub_centers")}
    assert by_text["ce(16*cosine)"].candidate.class_weights is None
    assert by_text["+ ce(z)"].candidate.class_weights == "sub_centers"


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("focal", {}, "Expected task with a name or formula"),
        ("focal", {"task": "digit"}, "Unknown task 'digit'; did you mean digits"),
        ("focl", {"task": "digits"}, "Unknown loss 'focl'; did you mean focal"),
        ("ce(z", {"task": "digits"}, "Position 4"),
        ("ce(z) + eps", {"task": "digits"}, "eps"),
        ("ce(z)", {"task": "digits", "rank": 2}, "Expected rank with the directory of a run"),
        ("ce(cosine) [pedc]", {"task": "digits"}, "class weights that suit it"),
    ],
)
def test_unexplainable_losses_are_refused_before_anything_is_written(tmp_path, monkeypatch, source, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        explain(source, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_rank_and_a_task_beside_a_run_are_refused(run):
    ranked = Leaderboard(run).ranked
    with pytest.raises(UserError, match=f"Expected rank between 1 and {ranked}, the losses of .*, got {ranked + 1}"):
        explain(run, rank=ranked + 1)
    with pytest.raises(UserError, match="Expected no task and no run_dir with a run"):
        explain(run, task="digits")


def test_a_run_without_valid_candidates_and_a_directory_that_is_no_run_are_refused(run, tmp_path):
    with pytest.raises(UserError, match="expected the directory of a run"):
        explain(tmp_path)
    copied = tmp_path / "empty"
    (copied / "evaluations").mkdir(parents=True)
    (copied / "experiment.toml").write_bytes((run / "experiment.toml").read_bytes())
    with pytest.raises(UserError, match="expected a run with losses that were evaluated, got none"):
        explain(copied)


def test_ranks_of_a_damaged_run_are_refused(run, tmp_path):
    copied = tmp_path / "damaged"
    (copied / "evaluations").mkdir(parents=True)
    for path in (run / "evaluations").glob("*.parquet"):
        (copied / "evaluations" / path.name).write_bytes(path.read_bytes())
    (copied / "experiment.toml").write_bytes((run / "experiment.toml").read_bytes())
    (copied / "evaluations" / "999999.parquet").write_bytes(b"PAR1")
    with pytest.warns(UserWarning, match="999999"), pytest.raises(DamagedFile, match="ranks may differ"):
        explain(copied)


def test_the_card_of_an_explained_loss_has_the_explanation(run, of_run, tmp_path):
    board = Leaderboard(run)
    lossearch.export(board[1], tmp_path / "second.py", card=True)
    lossearch.export(board[2], tmp_path / "third.py", card=True)
    card = (tmp_path / "second.py.md").read_text()
    for heading in ("## What it does, and why", "### How it pulls", "### Which parts matter", "### Wrong labels and"):
        assert heading in card
    assert "What it does, and why" not in (tmp_path / "third.py.md").read_text()


def test_the_files_need_a_parquet_reader_alone(of_run):
    points = polars.read_parquet(of_run.path / "points.parquet")
    assert {"loss", "line", "axis", "at", "value", "slope", "slope_in_logit", "factor"} <= set(points.columns)
    assert len(points) == len(of_run.explanation.points)
    assert polars.read_parquet(of_run.path / "behaviour.parquet")["task"].unique().sort().to_list() == sorted(BEHAVIOUR)


def test_the_command_prints_text_and_json(run, of_run):
    printed = CliRunner().invoke(app, ["explain", str(run), "--rank", "2", "--seeds", "3"])
    assert printed.exit_code == 0
    assert "Which parts matter" in printed.stdout
    assert "\x1b" not in printed.stdout
    assert f"Explanation: {of_run.path}" in printed.stderr
    as_json = CliRunner().invoke(app, ["explain", str(run), "--rank", "2", "--seeds", "3", "--json"])
    data = json.loads(as_json.stdout)
    assert data["form"]["loss_id"] == of_run.explanation.form.loss_id
    assert len(data["behaviour"]) == len(of_run.explanation.behaviour)
    assert set(data["text"]) == {"What it is", "How it pulls", "Which parts matter", "Wrong labels and a long tail"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["focal"], "expected --task with a name or formula"),
        (["runs/none"], "expected the directory of a run"),
        (["focl", "--task", "digits"], "did you mean focal"),
        (["ce(z", "--task", "digits"], "Position 4"),
    ],
)
def test_the_command_explains_wrong_input(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = CliRunner().invoke(app, ["explain", *words])
    assert printed.exit_code == 2
    assert message in printed.stderr


def test_explain_is_a_public_name():
    assert lossearch.explain is explain
    assert "explain" in dir(lossearch)


def test_a_loss_of_a_search_on_several_tasks_is_explained_on_each(tmp_path):
    two = validated(SMALL.model_dump() | {"task": ["digits", "digits_few_labels"]}, "two")
    search(two, run_dir=tmp_path)
    best = Leaderboard(tmp_path).rows[0]
    explanation = explain(tmp_path, seeds=1).explanation
    assert explanation.form.task == "digits + digits_few_labels"
    assert best.calibration is None  # one factor for each task: that of the first is taken
    assert explanation.form.factor > 0.0
    assert [part.task for part in explanation.parts if part.kind != "simplified"] == [
        task for task in two.tasks for _ in range(explanation.form.parts)
    ]
    assert {line.task for line in explanation.behaviour} == {*BEHAVIOUR, "digits_few_labels"}
