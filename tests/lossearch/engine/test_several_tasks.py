import pytest

from lossearch.cli.plan import plan
from lossearch.engine.launch import SearchInterrupted, search
from lossearch.results.ranking.rows import leaderboard_rows
from lossearch.runs.declaration import ExperimentError
from lossearch.runs.experiment import validated
from tests.long_cases import long_unless
from tests.lossearch.small import records, stopped_at
from tests.results.helpers import evaluation

SEVERAL = validated(
    {
        "name": "several",
        "task": ["digits", "digits_noisy", "shapes_segmentation"],
        "seed": 3,
        "fidelity": {"steps": 9, "rungs": [3]},
        "fidelity_of": {"shapes_segmentation": {"batch_size": 4, "hidden": 8}},
        "evolution": {"population": 5, "generations": 2, "seeds": ["cross_entropy", "mse", "am_softmax"]},
        "executor": {"kind": "inline", "cohort_size": 2},
    },
    "several",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return search(SEVERAL, run_dir=tmp_path_factory.mktemp("runs") / "several")


def test_every_candidate_is_trained_on_every_task_and_its_fitness_there_is_kept_apart(whole):
    trained = [
        evaluation
        for evaluation in whole.leaderboard.evaluations
        if evaluation.fitness is not None and not evaluation.at_a_rung
    ]
    on = {}
    for record in trained:
        on.setdefault((record.loss_id, record.seed), set()).add(record.task)
    ranked = [row for row in whole.leaderboard.rows if row.rank is not None]
    assert {loss for loss, _ in on} >= {row.loss_id for row in ranked}
    assert all(on[row.loss_id, seed] == set(SEVERAL.tasks) for row in ranked for seed in (0, 1))
    assert {evaluation.metric for evaluation in trained} == {"accuracy", "mean IoU"}


def test_the_fitness_of_a_row_is_the_mean_over_the_tasks(whole):
    row = whole.leaderboard.rows[0]
    fitness = [
        evaluation.fitness
        for evaluation in whole.leaderboard.evaluations
        if evaluation.loss_id == row.loss_id and evaluation.fitness is not None and not evaluation.at_a_rung
    ]
    assert len(fitness) == 2 * 3
    assert row.fitness_mean == pytest.approx(sum(fitness) / 6)
    assert [text.split()[0] for text in row.fitness_by_task] == list(SEVERAL.tasks)
    assert (row.task, row.metric) == ("digits + digits_noisy + shapes_segmentation", "mean of metrics")


def test_the_best_loss_is_tested_on_all_tasks(whole):
    assert whole.trial.seeds == 6
    assert 0.0 < whole.trial.cross_entropy < 1.0


@pytest.mark.parametrize("submissions", long_unless([1, 4, 10], (4,)))
def test_a_resumed_search_on_several_tasks_equals_the_uninterrupted_one(tmp_path, monkeypatch, whole, submissions):
    path = tmp_path / "stopped"
    with stopped_at(monkeypatch, submissions, SearchInterrupted):
        search(SEVERAL, run_dir=path)
    search(SEVERAL, run_dir=path, resume=True)
    assert records(path) == records(whole.path)


def test_a_loss_that_fails_on_one_task_has_no_rank():
    records = [evaluation("ce(z)", seed, 0.9, task=task) for task in ("a", "b") for seed in (0, 1)]
    records += [evaluation("abs(p - y)", seed, 0.99, task="a", name=None) for seed in (0, 1)]
    records.append(evaluation("abs(p - y)", 0, None, task="b", name=None, status="failed", reason="diverged"))
    records += [evaluation("square(p)", seed, 0.99, task="a", name=None) for seed in (0, 1)]  # not there yet on b
    rows = {row.formula: row for row in leaderboard_rows(records)}
    assert rows["ce(z)"].rank == 1
    assert (rows["abs(p - y)"].rank, rows["abs(p - y)"].reason) == (None, "diverged")
    assert rows["square(p)"].rank is None


def test_the_plan_names_all_tasks():
    text = plan(SEVERAL)
    assert "tasks digits, digits_noisy, shapes_segmentation" in text
    assert f"up to {(5 + 5) * 2 * 3} trainings of 9 steps" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": []}, "task"),
        ({"task": ["digits", "digits"]}, "task named twice"),
        ({"task": ["digits", "digts"]}, "Unknown task 'digts'"),
        ({"fidelity_of": {"shapes": {}}}, "shapes is not among the tasks"),
        ({"fidelity_of": {"digits": {"seeds": 5}}}, "the same number of seeds on every task"),
        ({"fidelity_of": {"digits": {"rungs": [2, 5]}}}, "the same number of rungs on every task"),
        ({"fidelity_of": {"digits": {"sedes": 5}}}, "fidelity_of.digits.sedes: unknown key.*seeds"),
    ],
)
def test_tasks_that_cannot_be_searched_together_are_refused(changes, message):
    declared = SEVERAL.model_dump(mode="json") | {"fidelity": {"rungs": [3], "steps": 9}, "fidelity_of": {}} | changes
    with pytest.raises(ExperimentError, match=message):
        validated(declared, "several.toml")


def test_a_run_on_one_task_names_only_that_task():
    rows = leaderboard_rows([evaluation("ce(z)", 0, 0.9)])
    assert (rows[0].task, rows[0].fitness_by_task, rows[0].metric) == ("digits", (), "accuracy")
