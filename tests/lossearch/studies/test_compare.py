import json
import shutil
from dataclasses import replace

import numpy as np
import polars
import pytest

from lossearch.evaluators.executors.executor import FinishedWork, InlineExecutor
from lossearch.evaluators.tasks import known_task
from lossearch.evaluators.training.attached_loss import loss_for
from lossearch.evaluators.training.calibration import calibration_factor
from lossearch.evaluators.training.state import State
from lossearch.evaluators.training.training import Training
from lossearch.evaluators.work import Result, Work, failures, training_seed
from lossearch.primitives.errors import UserError
from lossearch.primitives.language.parser import parse
from lossearch.results.records import Measurement
from lossearch.results.storage.store import RecordStore
from lossearch.runs import session as workers
from lossearch.runs.directory import RunDirectoryError
from lossearch.studies.checkpoints import Checkpoints
from lossearch.studies.compare import compare
from lossearch.studies.comparison import replaced, validated_comparison
from lossearch.studies.runner import StudyInterrupted
from tests.evaluators.executors.test_executor import Shuffled
from tests.long_cases import long_unless
from tests.lossearch.small import Interrupting, stopped_at

SMALL = validated_comparison(
    {
        "name": "small",
        "tasks": ["digits", "digits_noisy"],
        "losses": ["cross_entropy", "mse", "am_softmax(m=0.2)", "pedcc", "0.5*ce(2*z)"],
        "seeds": 3,
        "fidelity": {"steps": 12, "hidden": 16},
        "executor": {"kind": "inline"},
    },
    "small",
)
TUNED = validated_comparison(
    replaced(SMALL.model_dump(), {"tasks": ["digits"], "tune": 7, "losses": ["mse", "am_softmax(s=15)", "ce(2*z)"]}),
    "tuned",
)


def measurements(path, folder="measurements"):
    """Return the measurements of a comparison without times, in an order that does not depend on time."""
    records, damages = RecordStore(path / folder, Measurement).read()
    assert not damages
    timeless = [replace(measurement, seconds=None, finished_at=None) for measurement in records]
    return sorted(timeless, key=lambda measurement: measurement.measurement_id)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return compare(SMALL, run_dir=tmp_path_factory.mktemp("compared") / "whole")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    return compare(TUNED, run_dir=tmp_path_factory.mktemp("compared") / "tuned")


def test_every_loss_is_measured_on_every_task_under_every_seed(whole):
    trainings = {
        (measurement.task, measurement.loss, measurement.seed)
        for measurement in measurements(whole.path)
        if measurement.measure == "accuracy"
    }
    losses = ["cross_entropy", "mse", "am_softmax(m=0.2)", "pedcc", "0.5*ce(2*z)"]
    assert trainings == {(task, loss, seed) for task in SMALL.tasks for loss in losses for seed in range(3)}
    assert {measurement.split for measurement in measurements(whole.path)} == {"test"}


def test_measures_beyond_the_metric_are_kept(whole):
    assert {
        *("accuracy", "balanced accuracy", "macro F1", "calibration error", "distance ratio"),
        "gradient at the embedding",
    } <= {measurement.measure for measurement in measurements(whole.path)}


def test_the_confusion_matrix_counts_every_test_sample_under_every_seed(whole):
    counts = whole.table.confusion_matrix("digits", "mse")
    assert counts.shape == (10, 10)
    assert counts.sum(1).tolist() == (3 * known_task("digits").load_test().targets.bincount()).tolist()
    line = next(line for line in whole.table.of_task("digits") if line.loss == "mse")
    assert counts.trace() / counts.sum() == pytest.approx(line.mean)
    with pytest.raises(KeyError, match="no confusion matrix of nobody on digits"):
        whole.table.confusion_matrix("digits", "nobody")


def test_measurements_are_of_the_trained_network_on_the_test_split(whole):
    task, fidelity = known_task("digits"), SMALL.fidelity_of["digits"]
    seed, first = (training_seed(Work((), "digits", fidelity, 0, measured="test"), number) for number in (2, 0))
    formula = parse("square(p - y)")
    loss = loss_for(formula, task, fidelity, None)
    training = Training(loss, task, fidelity, seed, calibration_factor(loss, task, fidelity, first))
    training.run(fidelity.steps)
    alone = training.metric_on(task.load_test())
    (recorded,) = [
        measurement.value
        for measurement in measurements(whole.path)
        if (measurement.task, measurement.loss, measurement.seed, measurement.measure)
        == ("digits", "mse", 2, "accuracy")
    ]
    assert recorded == pytest.approx(alone, abs=1.5 / len(task.load_test()))  # a sample on the edge may turn


def test_the_directory_holds_what_a_reader_expects(whole):
    names = {path.name for path in whole.path.iterdir()}
    assert names == {"comparison.toml", "measurements", "tuning", "comparison.parquet", "comparison.md", "log.jsonl"}
    events = [json.loads(line)["event"] for line in (whole.path / "log.jsonl").read_text().splitlines()]
    assert events == ["started", "ended"]
    frame = polars.read_parquet(whole.path / "comparison.parquet")
    assert set(frame["task"]) == set(SMALL.tasks)
    assert set(frame["verdict"]) == {"baseline", "too few seeds"}


@pytest.mark.parametrize("submissions", long_unless([0, 1, 3, 5], (1, 5)))
def test_a_resumed_comparison_equals_the_uninterrupted_one(tmp_path, monkeypatch, whole, submissions):
    path = tmp_path / "stopped"
    with stopped_at(monkeypatch, submissions, StudyInterrupted):
        compare(SMALL, run_dir=path)
    again = compare(SMALL, run_dir=path, resume=True)
    assert measurements(path) == measurements(whole.path)
    timeless = [replace(line, seconds=None) for line in again.table.lines]
    assert timeless == [replace(line, seconds=None) for line in whole.table.lines]


def test_a_finished_comparison_trains_nothing_again(tmp_path, monkeypatch, whole):
    path = tmp_path / "finished"
    shutil.copytree(whole.path, path)
    monkeypatch.setattr(workers, "InlineExecutor", lambda device: Interrupting(0))
    assert compare(SMALL, run_dir=path, resume=True).table.lines == whole.table.lines


def test_a_damaged_part_is_set_aside_and_its_trainings_are_done_again(tmp_path, whole):
    path = tmp_path / "damaged"
    shutil.copytree(whole.path, path)
    for part in (path / "measurements").glob("*.parquet"):
        part.write_bytes(part.read_bytes()[:100])
    compare(SMALL, run_dir=path, resume=True)
    assert measurements(path) == measurements(whole.path)
    assert list((path / "measurements").glob("*.damaged"))


def test_a_changed_comparison_is_refused_with_the_difference(whole):
    with pytest.raises(RunDirectoryError, match="seed was 0, is 9"):
        compare(SMALL, run_dir=whole.path, resume=True, seed=9)
    with pytest.raises(RunDirectoryError, match="Continue it with resume=True"):
        compare(SMALL, run_dir=whole.path)
    with pytest.raises(UserError, match="run_dir"):
        compare(SMALL, resume=True)


def test_a_loss_that_fails_is_recorded_and_the_others_go_on(tmp_path):
    done = compare(SMALL, run_dir=tmp_path / "failing", tasks=["digits"], losses=["mse", "0*mean_c(p)"])
    lines = {line.loss: line for line in done.table.lines}
    assert (lines["0*mean_c(p)"].verdict, lines["0*mean_c(p)"].failed) == ("failed", 3)
    assert lines["mse"].seeds == 3


def test_a_loss_whose_worker_never_comes_back_is_recorded_once_with_the_reason(tmp_path, monkeypatch):
    class Killing(InlineExecutor):
        def submit(self, work, states=()):
            return FinishedWork(work, Result(failures(work, "stopped: not done within 60 s")))

    monkeypatch.setattr(workers, "InlineExecutor", Killing)
    done = compare(SMALL, run_dir=tmp_path / "killed")
    assert {line.reason for line in done.table.lines} == {"stopped: not done within 60 s"}
    assert {line.failed for line in done.table.lines} == {3}


def test_every_loss_is_tuned_with_the_same_budget_on_the_validation_split(tuned):
    trials = [measurement for measurement in measurements(tuned.path, "tuning") if measurement.measure == "accuracy"]
    assert {trial.split for trial in trials} == {"validation"}
    settings = {}
    for trial in trials:
        settings.setdefault(trial.loss, set()).add((trial.formula, trial.learning_rate))
    assert {loss: len(tried) for loss, tried in settings.items()} == {
        "cross_entropy": 7,
        "mse": 7,
        "am_softmax(s=15)": 7,
        "ce(2*z)": 7,
    }
    assert not {trial.seed for trial in trials} & set(range(3))


def test_the_best_setting_on_the_validation_split_is_compared(tuned):
    trials = [measurement for measurement in measurements(tuned.path, "tuning") if measurement.measure == "accuracy"]
    for line in tuned.table.lines:
        worth = {}
        for trial in trials:
            if trial.loss == line.loss:
                worth.setdefault((trial.formula, trial.learning_rate), []).append(trial.value)
        best = max(sum(values) for values in worth.values())
        assert sum(worth[line.formula, line.learning_rate]) == best


def test_a_given_setting_is_not_tuned(tuned):
    formulas = {
        measurement.formula
        for measurement in measurements(tuned.path, "tuning")
        if measurement.loss == "am_softmax(s=15)"
    }
    assert len(formulas) > 1
    assert all(formula.startswith("ce(15*(cosine - ") for formula in formulas)


def test_optuna_reads_the_trials(tuned):
    import optuna

    journal = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tuned.path / "studies.journal"))
    )
    names = optuna.get_all_study_names(journal)
    assert sorted(names) == sorted(f"digits: {line.loss}" for line in tuned.table.lines)
    trials = [measurement for measurement in measurements(tuned.path, "tuning") if measurement.measure == "accuracy"]
    for line in tuned.table.lines:
        study = optuna.load_study(study_name=f"digits: {line.loss}", storage=journal)
        assert len(study.trials) == 7
        worth = {}
        for trial in trials:
            if trial.loss == line.loss:
                worth.setdefault((trial.formula, trial.learning_rate), []).append(trial.value)
        means = sorted(sum(values) / len(values) for values in worth.values())
        assert sorted(trial.value for trial in study.trials) == pytest.approx(means)


def test_the_numbers_of_a_formula_are_tuned_under_its_own_name(tuned):
    formulas = {
        measurement.formula for measurement in measurements(tuned.path, "tuning") if measurement.loss == "ce(2*z)"
    }
    numbers = {float(formula.removeprefix("ce(").removesuffix("*z)")) for formula in formulas}
    assert 2.0 in numbers
    assert len(numbers) > 2
    assert all(0.5 <= number <= 8.0 for number in numbers)


@pytest.mark.parametrize("submissions", long_unless([2, 7, 9], (7,)))
def test_a_resumed_tuning_equals_the_uninterrupted_one(tmp_path, monkeypatch, tuned, submissions):
    path = tmp_path / "stopped"
    with stopped_at(monkeypatch, submissions, StudyInterrupted):
        compare(TUNED, run_dir=path)
    compare(TUNED, run_dir=path, resume=True)
    assert measurements(path, "tuning") == measurements(tuned.path, "tuning")
    assert measurements(path) == measurements(tuned.path)


STAGED = {
    "in cohorts": {"epoch": 5},
    "one at a time": {"epoch": 5, "class_weight_rate": 0.05},
}


@pytest.mark.parametrize("training", STAGED)
def test_a_stopped_training_continues_from_its_last_epoch(tmp_path, monkeypatch, training):
    keys = {"tasks": ["digits"], "losses": ["am_softmax", "mse"], "seeds": 2, "fidelity": STAGED[training]}
    whole = compare(SMALL, run_dir=tmp_path / "whole", **{**keys, "fidelity": {**STAGED[training], "epoch": 12}})
    path, trained = tmp_path / "stopped", []

    class Counting(Interrupting):
        def submit(self, work, states=()):
            done = super().submit(work, states)
            begun = [state.step for by_key in states for state in by_key.values()]
            trained.append((work.until - max(begun, default=0)) * len(work.candidates) * work.fidelity.seeds)
            return done

    left = iter([3, 1, 1_000])
    monkeypatch.setattr(workers, "InlineExecutor", lambda device: Counting(next(left)))
    for resume in (False, True):
        with pytest.raises(StudyInterrupted):
            compare(SMALL, run_dir=path, resume=resume, **keys)
    assert list((path / "checkpoint").glob("*.npz"))
    compare(SMALL, run_dir=path, resume=True, **keys)
    assert measurements(path) == measurements(whole.path)
    assert sum(trained) == 12 * 3 * 2  # no step of any training was done twice
    assert not list((path / "checkpoint").iterdir())


def test_a_loss_that_fails_midway_does_not_stop_the_others(tmp_path):
    keys = {"tasks": ["digits"], "losses": ["0*mean_c(p)", "mse"], "seeds": 2, "fidelity": {"epoch": 5}}
    done = compare(SMALL, run_dir=tmp_path / "failing", **keys)
    lines = {line.loss: line for line in done.table.lines}
    assert (lines["0*mean_c(p)"].failed, lines["mse"].seeds, lines["cross_entropy"].seeds) == (2, 2, 2)


def test_a_checkpoint_that_is_damaged_costs_only_its_epochs(tmp_path, monkeypatch):
    keys = {"tasks": ["digits"], "losses": ["mse"], "seeds": 2, "fidelity": {"epoch": 5}}
    with stopped_at(monkeypatch, 2, StudyInterrupted):
        compare(SMALL, run_dir=tmp_path / "damaged", **keys)
    for saved in (tmp_path / "damaged" / "checkpoint").glob("*.npz"):
        saved.write_bytes(saved.read_bytes()[:200])
    compare(SMALL, run_dir=tmp_path / "damaged", resume=True, **keys)
    compare(SMALL, run_dir=tmp_path / "whole", **keys)
    assert measurements(tmp_path / "damaged") == measurements(tmp_path / "whole")


@pytest.mark.parametrize("damage", [b"", b"PK", b'{"about": []}', "other", "list"])
def test_foreign_checkpoint_files_are_ignored(tmp_path, damage):
    kept = Checkpoints(tmp_path)
    kept.save("a", State(3, 0.5, (np.ones(2, np.float32),), (np.zeros(2, np.float32),), (), 1.5))
    assert kept.load("a").seconds == 1.5
    file = tmp_path / "a.npz"
    if isinstance(damage, bytes):
        file.write_bytes(damage)
    else:
        about = np.array(json.dumps([1])) if damage == "list" else np.ones(3)
        with open(file, "wb") as opened:
            np.savez(opened, about=about)
    assert kept.load("a") is None
    assert kept.load("nobody") is None


def test_a_candidate_continues_in_any_other_cohort(tmp_path, monkeypatch):
    keys = {"tasks": ["digits"], "losses": ["mse", "focal", "0*mean_c(p)"], "seeds": 2, "fidelity": {"epoch": 5}}
    trained = []

    class Counting(Interrupting):
        def __init__(self, at, slots):
            super().__init__(at)
            self.slots = slots

        def submit(self, work, states=()):
            done = super().submit(work, states)
            begun = {key: state.step for by_key in states for key, state in by_key.items()}
            trained.extend(
                (candidate.formula, work.until - begun.get(candidate.key, 0)) for candidate in work.candidates
            )
            return done

    executors = iter([Counting(2, 1), Counting(1_000, 3)])  # other cohorts the second time
    monkeypatch.setattr(workers, "InlineExecutor", lambda device: next(executors))
    with pytest.raises(StudyInterrupted):
        compare(SMALL, run_dir=tmp_path / "stopped", **keys)
    compare(SMALL, run_dir=tmp_path / "stopped", resume=True, **keys)
    for formula in ("square(p - y)", "ce(z)"):
        assert sum(steps for loss, steps in trained if loss == formula) == 12
    assert not list((tmp_path / "stopped" / "checkpoint").iterdir())


def test_a_comparison_is_the_same_out_of_order_and_on_several_workers(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(workers, "InlineExecutor", lambda device: Shuffled())
    done = compare(SMALL, run_dir=tmp_path / "shuffled", fidelity={"epoch": 5})
    assert measurements(done.path) == measurements(whole.path)


@pytest.mark.long
@pytest.mark.xdist_group("ray")
@pytest.mark.usefixtures("shared_ray")
def test_a_comparison_on_ray_equals_one_in_this_process(tmp_path, whole):
    done = compare(SMALL, run_dir=tmp_path / "ray", executor="ray", tasks=["digits"], fidelity={"epoch": 6})
    assert measurements(done.path) == [
        measurement for measurement in measurements(whole.path) if measurement.task == "digits"
    ]
