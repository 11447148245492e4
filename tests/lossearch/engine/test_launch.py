import json
import shutil

import polars
import pytest

from lossearch.engine import launch
from lossearch.engine.launch import SearchInterrupted, search
from lossearch.evaluators.settings import TrainingSettings
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.errors import UserError
from lossearch.results.leaderboard import Leaderboard
from lossearch.runs import session as workers
from lossearch.runs.directory import RunDirectory, RunDirectoryError
from lossearch.runs.experiment import EvolutionSettings
from tests.long_cases import long_unless
from tests.lossearch.small import SMALL, Interrupting, finished_run, records, run_search, stopped_at


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("runs") / "whole")


def test_starting_and_evolved_losses_are_trained_by_one_protocol(uninterrupted):
    rows = [row for row in uninterrupted.leaderboard.rows if row.rank is not None]
    assert {"cross_entropy", "mse", "ngl", "am_softmax"} <= {row.name for row in rows}
    assert {row.birth for row in rows} > {"known"}
    assert {(row.task, row.fidelity, row.seeds) for row in rows} == {("digits", SMALL.fidelity.label(), 2)}


def test_every_generation_trains_the_requested_number_of_distinct_candidates(uninterrupted):
    trained = [row for row in uninterrupted.leaderboard.rows if row.status in ("evaluated", "failed")]
    settings = SMALL.evolution
    assert len({row.loss_id for row in trained}) == len(trained) == settings.population * settings.generations


def test_every_untrained_candidate_is_recorded_with_a_reason(tmp_path):
    seeds = (*SMALL.evolution.seeds, "2*ce(z)", "sum_c(p)")  # a twin of cross-entropy, and a constant
    declared = SMALL.model_copy(update={"evolution": SMALL.evolution.model_copy(update={"seeds": seeds})})
    recorded = search(declared, run_dir=tmp_path / "run").leaderboard.evaluations
    assert {"evaluated", "rejected", "duplicate"} <= {evaluation.status for evaluation in recorded}
    assert all(evaluation.reason for evaluation in recorded if evaluation.status != "evaluated")
    births = {evaluation.birth_number for evaluation in recorded}
    assert births == set(range(1, max(births) + 1))


def test_the_best_loss_was_exported_and_tested_under_fresh_seeds(uninterrupted):
    assert uninterrupted.exported == uninterrupted.path / "best_loss.py"
    assert uninterrupted.trial.seeds == 6
    assert 0.0 <= uninterrupted.trial.fitness <= 1.0


def test_the_run_directory_holds_what_a_reader_expects(uninterrupted):
    path = uninterrupted.path
    names = {file.name for file in path.iterdir()}
    files = {"experiment.toml", "leaderboard.parquet", "log.jsonl", "workers.json", "best_loss.py"}
    assert names == {*files, "evaluations", "checkpoint"}
    events = [json.loads(line)["event"] for line in (path / "log.jsonl").read_text().splitlines()]
    assert events == ["started", *["generation"] * 4, "ended"]
    frame = polars.read_parquet(path / "leaderboard.parquet")
    assert frame["rank"].to_list()[0] == 1
    assert not list(path.rglob("*.pkl"))


@pytest.mark.parametrize("submissions", long_unless([0, 1, 3, 4, 5, 8, 11], (0, 5)))
def test_a_resumed_search_equals_the_uninterrupted_one_record_for_record(
    tmp_path, monkeypatch, uninterrupted, submissions
):
    path = tmp_path / "stopped"
    with stopped_at(monkeypatch, submissions, SearchInterrupted):
        run_search(path)
    kept = records(path)
    resumed = run_search(path, resume=True)
    assert records(path) == records(uninterrupted.path)
    assert set(kept) <= set(records(path))
    assert resumed.leaderboard.rows[0].loss_id == uninterrupted.leaderboard.rows[0].loss_id


def test_a_search_interrupted_many_times_finishes(tmp_path, monkeypatch, uninterrupted):
    path = tmp_path / "stopped"
    with monkeypatch.context() as patched:
        patched.setattr(workers, "InlineExecutor", lambda device: Interrupting(5))
        for attempt in range(10):
            try:
                run_search(path, resume=attempt > 0)
            except SearchInterrupted:
                continue
            break
    assert records(path) == records(uninterrupted.path)


def test_resuming_a_finished_run_trains_nothing_and_changes_nothing(tmp_path, monkeypatch):
    finished_run(tmp_path / "run")
    before = sorted((tmp_path / "run" / "evaluations").iterdir())
    monkeypatch.setattr(workers, "InlineExecutor", lambda device: Interrupting(0))
    run_search(tmp_path / "run", resume=True)
    assert sorted((tmp_path / "run" / "evaluations").iterdir()) == before


@pytest.mark.parametrize("part", [0, -1])
def test_a_damaged_part_is_set_aside_and_its_work_is_repeated(tmp_path, uninterrupted, part):
    path = tmp_path / "run"
    finished_run(path)
    parts = sorted((path / "evaluations").glob("*.parquet"))
    parts[part].write_bytes(parts[part].read_bytes()[:100])
    run_search(path, resume=True)
    assert records(path) == records(uninterrupted.path)
    assert parts[part].with_name(parts[part].name + ".damaged").exists()


def test_a_missing_part_is_noticed_and_its_work_is_repeated(tmp_path, uninterrupted):
    path = tmp_path / "run"
    finished_run(path)
    sorted((path / "evaluations").glob("*.parquet"))[1].unlink()
    run_search(path, resume=True)
    assert records(path) == records(uninterrupted.path)


@pytest.mark.parametrize("folder", ["checkpoint", "evaluations"])
def test_a_missing_folder_is_created_again(tmp_path, uninterrupted, folder):
    path = tmp_path / "run"
    finished_run(path)
    shutil.rmtree(path / folder)
    run_search(path, resume=True)
    assert records(path) == records(uninterrupted.path)


def test_a_stop_right_after_a_part_was_set_aside_loses_nothing(tmp_path, monkeypatch, uninterrupted):
    path = tmp_path / "run"
    finished_run(path)
    part = min((path / "evaluations").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:100])
    with stopped_at(monkeypatch, 0, SearchInterrupted):
        run_search(path, resume=True)
    run_search(path, resume=True)
    assert records(path) == records(uninterrupted.path)


def test_results_do_not_depend_on_the_order_in_which_they_arrive(tmp_path, monkeypatch, uninterrupted):
    from tests.evaluators.executors.test_executor import Shuffled

    monkeypatch.setattr(workers, "InlineExecutor", lambda device: Shuffled())
    run_search(tmp_path / "shuffled")
    assert records(tmp_path / "shuffled") == records(uninterrupted.path)


@pytest.mark.xdist_group("ray")
@pytest.mark.usefixtures("shared_ray")
def test_ray_gives_the_same_records(tmp_path, uninterrupted):
    run_search(tmp_path / "ray", executor="ray")
    assert records(tmp_path / "ray") == records(uninterrupted.path)


def test_a_training_that_raises_an_error_is_recorded_alike_everywhere(tmp_path, monkeypatch):
    from lossearch.evaluators.cohort.cohort import Cohort

    train = Cohort.train_and_score

    def breaks(cohort, until):
        if any("sin" in str(formula) for formula in cohort.plan.formulas):
            raise RuntimeError("broken")
        return train(cohort, until)

    monkeypatch.setattr(Cohort, "train_and_score", breaks)
    board = run_search(tmp_path / "run").leaderboard
    (ngl,) = [row for row in board.rows if row.name == "ngl"]
    assert (ngl.status, ngl.reason) == ("failed", "RuntimeError: broken")


def test_another_seed_is_another_search(tmp_path, uninterrupted):
    other = SMALL.model_copy(update={"seed": 4})
    launch.search(other, run_dir=tmp_path / "other")
    assert {row.formula for row in Leaderboard(tmp_path / "other").rows} != {
        row.formula for row in uninterrupted.leaderboard.rows
    }


def test_the_arguments_of_search_are_checked(tmp_path):
    for options, message in [
        ({"executor": "inlin"}, "Expected executor to be ray or inline, got 'inlin'"),
        ({"executor": "inline", "ray_address": "auto"}, "Expected no Ray address with the inline executor"),
        ({"seed": -1}, "seed: expected greater than or equal to 0, got -1"),
        ({"resume": True, "run_dir": None}, "Expected run_dir"),
    ]:
        with pytest.raises(UserError, match=message):
            launch.search(SMALL, **{"run_dir": tmp_path / "run", **options})
    assert not (tmp_path / "run").exists()


def test_a_seed_replaces_an_experiments_own(tmp_path):
    settings = SMALL.evolution.model_copy(update={"generations": 1})
    launch.search(SMALL.model_copy(update={"evolution": settings}), run_dir=tmp_path / "run", seed=11)
    assert RunDirectory.recorded(tmp_path / "run").seed == 11


def test_cross_entropy_is_measured_even_if_it_is_no_starting_loss(tmp_path):
    settings = SMALL.evolution.model_copy(update={"seeds": ("mse",), "generations": 1, "population": 3})
    run = launch.search(SMALL.model_copy(update={"evolution": settings}), run_dir=tmp_path / "run")
    (baseline,) = [row for row in run.leaderboard.rows if row.name == "cross_entropy"]
    assert (baseline.birth, baseline.difference_to_cross_entropy) == ("baseline", 0.0)
    assert not any(baseline.loss_id in row.parents for row in run.leaderboard.rows)


def test_the_search_never_loads_the_test_split(tmp_path, monkeypatch):
    from lossearch.evaluators.tasks import TASKS, task

    def touched():
        raise AssertionError("the test split was touched")

    guarded = task.Task(**{**TASKS["digits"].__dict__, "load_test": touched})
    monkeypatch.setitem(TASKS, "digits", guarded)
    settings = SMALL.evolution.model_copy(update={"generations": 1})
    run = launch.search(SMALL.model_copy(update={"evolution": settings}), run_dir=tmp_path / "run")
    assert run.exported is not None


class TestRunDirectories:
    def test_a_second_search_in_one_directory_is_refused(self, tmp_path):
        run = RunDirectory.create(SMALL, tmp_path / "run")
        try:
            with pytest.raises(RunDirectoryError, match="another process is writing to this run"):
                run_search(tmp_path / "run", resume=True)
        finally:
            run.close()

    @pytest.mark.parametrize("state", ["[]", '{"version": 0}', '{"version": 3, "generation": 2}'])
    def test_a_foreign_checkpoint_is_refused(self, tmp_path, state):
        finished_run(tmp_path / "run")
        (tmp_path / "run" / "checkpoint" / "state.json").write_text(state)
        with pytest.raises(RunDirectoryError, match="expected a checkpoint of"):
            run_search(tmp_path / "run", resume=True)

    def test_a_run_of_this_experiment_is_not_overwritten(self, uninterrupted):
        with pytest.raises(RunDirectoryError, match=r"holds a run of this experiment\. Continue it with resume=True"):
            run_search(uninterrupted.path)

    @pytest.mark.parametrize("resume", [False, True])
    def test_a_run_of_another_experiment_is_refused_with_the_difference(self, uninterrupted, resume):
        other = SMALL.model_copy(update={"seed": 9})
        with pytest.raises(RunDirectoryError, match="made by another experiment: seed was 3, is 9"):
            launch.search(other, run_dir=uninterrupted.path, resume=resume)

    def test_a_directory_with_other_files_is_refused(self, tmp_path):
        (tmp_path / "thesis.tex").write_text("x")
        with pytest.raises(RunDirectoryError, match="expected a new or empty directory"):
            run_search(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    def test_a_file_in_place_of_a_directory_is_refused(self, tmp_path):
        (tmp_path / "x").write_text("x")
        with pytest.raises(RunDirectoryError, match="expected a directory, got a file"):
            run_search(tmp_path / "x")
        with pytest.raises(RunDirectoryError, match="expected a directory that can be written, got: Not a directory"):
            run_search(tmp_path / "x" / "y")

    def test_resuming_a_directory_without_a_run_is_refused(self, tmp_path):
        with pytest.raises(RunDirectoryError, match="expected the directory of a run"):
            run_search(tmp_path, resume=True)

    def test_a_damaged_checkpoint_is_named_and_the_run_can_be_replayed_without_it(self, tmp_path, uninterrupted):
        finished_run(tmp_path / "run")
        state = tmp_path / "run" / "checkpoint" / "state.json"
        state.write_text(state.read_text()[:50])
        with pytest.raises(RunDirectoryError, match=r"state\.json: expected JSON"):
            run_search(tmp_path / "run", resume=True)
        state.unlink()
        run_search(tmp_path / "run", resume=True)
        assert records(tmp_path / "run") == records(uninterrupted.path)


def test_a_search_is_seeded_with_every_known_loss_and_with_formulas(tmp_path):
    seeds = (*CATALOG, "ce(z) + 0.1*mean_c(square(p))", "ce(8*cosine) + 0.01*norm")
    evolution = EvolutionSettings(population=8, generations=2, seeds=seeds, max_nodes=60, max_depth=20)
    experiment = SMALL.model_copy(update={"evolution": evolution, "fidelity": TrainingSettings(steps=6, seeds=1)})
    run = search(experiment, run_dir=tmp_path / "run")
    born = {
        evaluation.name: evaluation
        for evaluation in run.leaderboard.evaluations
        if evaluation.birth in ("known", "baseline")
    }
    given = [
        evaluation
        for evaluation in run.leaderboard.evaluations
        if evaluation.birth == "known" and evaluation.name is None
    ]
    assert born.keys() - {None} == CATALOG.keys()
    assert len(given) == 2
    statuses = {name: evaluation.status for name, evaluation in born.items() if name}
    twins = {name for name, status in statuses.items() if status == "duplicate"}
    # one-hot targets have no entropy; a sum is a mean times C; taylor_glo's defaults are mse; 4(1 - p) is mae times 2C
    assert twins == {"kl_divergence", "sum_squared_error", "taylor_glo", "reverse_cross_entropy"}
    assert {name for name, status in statuses.items() if status == "rejected"} == {
        "truncated_generalized_cross_entropy",
        "ramp",
    }
    assert {name for name, status in statuses.items() if status == "failed"} == set()
    weights = {name: evaluation.class_weights for name, evaluation in born.items()}
    assert (weights["pedcc"], weights["sub_center_arcface"], weights["arcface"]) == ("pedcc", "sub_centers", "learned")
    assert weights["focal"] is None


def test_children_keep_the_class_weights_of_their_parents(tmp_path):
    evolution = EvolutionSettings(
        population=6, generations=3, seeds=("pedcc",), terminals=("cosine", "y"), random_trees=0.0
    )
    experiment = SMALL.model_copy(update={"evolution": evolution, "fidelity": TrainingSettings(steps=6, seeds=1)})
    run = search(experiment, run_dir=tmp_path / "run")
    by_id = {evaluation.loss_id: evaluation for evaluation in run.leaderboard.evaluations}
    children = [evaluation for evaluation in by_id.values() if evaluation.status == "evaluated" and evaluation.parents]
    children = [
        child for child in children if by_id[child.parents[0]].class_weights == "pedcc" and "cosine" in child.formula
    ]
    assert children
    assert {child.class_weights for child in children} == {"pedcc"}
    (entry, *_) = [entry for entry in run.leaderboard if entry.class_weights == "pedcc"]
    loss = entry.loss(num_classes=10, embedding_size=16)
    assert not loss.weight.requires_grad


def with_evolution(**changes):
    return SMALL.model_copy(update={"evolution": SMALL.evolution.model_copy(update=changes)})


class TestForce:
    """A run that is resumed with a changed experiment."""

    def test_a_run_extended_by_generations_equals_one_that_had_them_from_the_beginning(self, tmp_path):
        search(with_evolution(generations=2), run_dir=tmp_path / "run")
        longer = with_evolution(generations=3)
        with pytest.raises(RunDirectoryError, match=r"generations was 2, is 3.*take the change with force=True"):
            search(longer, run_dir=tmp_path / "run", resume=True)
        search(longer, run_dir=tmp_path / "run", resume=True, force=True)
        search(longer, run_dir=tmp_path / "whole")
        assert records(tmp_path / "run") == records(tmp_path / "whole")
        assert RunDirectory.recorded(tmp_path / "run") == longer
        before = (tmp_path / "run" / "experiment-before.toml").read_text()
        assert "generations = 2" in before
        (event,) = [line for line in logged(tmp_path / "run") if line["event"] == "experiment changed"]
        assert event["changes"] == ["evolution.generations was 2, is 3"]

    @pytest.mark.parametrize(
        ("changes", "submissions"),
        long_unless(
            [
                (changes, stop)
                for changes in ({"islands": 2}, {"mode": "steady"}, {"population": 4})
                for stop in (0, 1, 8)
            ],
            short=[({"islands": 2}, 8), ({"mode": "steady"}, 1), ({"population": 4}, 0)],
        ),
    )
    def test_settings_of_variation_may_change(self, tmp_path, monkeypatch, changes, submissions):
        with stopped_at(monkeypatch, submissions, SearchInterrupted):
            run_search(tmp_path / "run")
        run = search(with_evolution(**changes), run_dir=tmp_path / "run", resume=True, force=True)
        assert run.exported is not None
        ids = [evaluation.evaluation_id for evaluation in run.leaderboard.evaluations]
        assert len(ids) == len(set(ids))
        assert {row.name for row in run.leaderboard.rows if row.name} == set(SMALL.evolution.seeds)

    def test_a_steady_search_stays_steady(self, tmp_path, monkeypatch):
        with stopped_at(monkeypatch, 8, SearchInterrupted):
            search(with_evolution(mode="steady"), run_dir=tmp_path / "run")
        with pytest.raises(RunDirectoryError, match="mode was 'steady', is 'generational'") as raised:
            search(SMALL, run_dir=tmp_path / "run", resume=True, force=True)
        assert "--force" not in str(raised.value)

    @pytest.mark.parametrize(
        "other",
        [
            SMALL.model_copy(update={"seed": 9}),
            SMALL.model_copy(update={"fidelity": TrainingSettings(steps=13, seeds=2)}),
        ],
    )
    def test_settings_that_change_fitness_may_not_change(self, tmp_path, monkeypatch, other):
        with stopped_at(monkeypatch, 1, SearchInterrupted):
            run_search(tmp_path / "run")
        with pytest.raises(RunDirectoryError, match="made by another experiment") as raised:
            search(other, run_dir=tmp_path / "run", resume=True, force=True)
        assert "--force" not in str(raised.value)

    def test_a_new_run_has_nothing_to_force(self, tmp_path):
        with pytest.raises(UserError, match="Expected force only together with resume"):
            search(SMALL, run_dir=tmp_path / "run", force=True)


def logged(path):
    return [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
