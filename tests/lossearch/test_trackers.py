"""Trackers: the files that TensorBoard, MLflow and Weights & Biases write on this machine, read back."""

import json
import sys

import pytest

import lossearch
from lossearch.callbacks import Callbacks
from lossearch.engine.launch import search
from lossearch.primitives.errors import UserError
from lossearch.runs.experiment import load_experiment
from lossearch.runs.progress import Progress
from lossearch.trackers import NAMES, MLflow, TensorBoard, WandB, known_tracker
from lossearch.trackers.tracker import flatten
from tests.clusters import wait_until
from tests.lossearch.cli.test_cli import lossearch as command
from tests.lossearch.small import SMALL, TOML, Warned

NUMBERS = {"evaluated", "stopped", "failed", "rejected", "duplicates", "best_fitness", "cross_entropy_fitness"}


@pytest.fixture
def run_with(tmp_path):
    def run(callback):
        view = Warned()
        result = search(SMALL, run_dir=tmp_path / "run", callbacks=[callback], view=view)
        assert view.warnings == []
        return result

    return run


def test_tensorboard_has_the_course_of_a_search(run_with):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = run_with(TensorBoard())
    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) >= {*NUMBERS, "difference_to_cross_entropy", "trial_fitness"}
    best = events.Scalars("best_fitness")
    assert [value.step for value in best] == [1, 2, 3, 4]
    assert best[-1].value == pytest.approx(run.leaderboard[0].fitness_mean)
    settings = events.Tensors("experiment/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| fidelity.steps | 12 |" in settings
    formula = events.Tensors("best_formula/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert formula.strip() == str(run.leaderboard[0].formula)


def test_tensorboard_writes_into_a_given_folder(tmp_path, run_with):
    run = run_with(TensorBoard(tmp_path / "events"))
    assert list((tmp_path / "events").glob("events.out.*"))
    assert not (run.path / "tensorboard").exists()


class TestMLflow:
    pytestmark = pytest.mark.filterwarnings("ignore", "ignore::ResourceWarning")  # of MLflow and its database

    @pytest.fixture
    def mlflow(self, tmp_path, monkeypatch):
        import mlflow

        monkeypatch.chdir(tmp_path)  # where its artifacts are kept
        monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
        yield mlflow
        mlflow.set_tracking_uri(before)

    def test_it_has_settings_course_and_files(self, tmp_path, mlflow, run_with):
        run = run_with(MLflow(f"sqlite:///{tmp_path}/mlflow.db", "losses"))
        assert mlflow.active_run() is None
        (tracked,) = mlflow.search_runs(experiment_names=["losses"], output_format="list")
        assert (tracked.info.run_name, tracked.info.status) == ("run", "FINISHED")
        assert tracked.data.params["fidelity.steps"] == "12"
        assert tracked.data.params["evolution.seeds"] == "cross_entropy, mse, ngl, am_softmax"
        assert tracked.data.metrics.keys() >= {*NUMBERS, "trial_fitness"}
        assert tracked.data.tags["best_formula"] == str(run.leaderboard[0].formula)
        client = mlflow.MlflowClient()
        course = client.get_metric_history(tracked.info.run_id, "best_fitness")
        assert [point.step for point in course] == [1, 2, 3, 4]
        kept = {artifact.path for artifact in client.list_artifacts(tracked.info.run_id)}
        assert kept == {"experiment.toml", "leaderboard.parquet", "best_loss.py"}

    def test_a_run_of_the_users_own_is_used_and_left_open(self, mlflow, run_with):
        mlflow.set_experiment("own")
        with mlflow.start_run() as users_run:
            run_with(MLflow())
            assert mlflow.active_run().info.run_id == users_run.info.run_id
        (tracked,) = mlflow.search_runs(experiment_ids=[users_run.info.experiment_id], output_format="list")
        assert tracked.info.run_id == users_run.info.run_id
        assert tracked.data.metrics.keys() >= NUMBERS


def log_records(data):
    """Return the records of a log in LevelDB's format, after a header of seven bytes."""
    place, parts = 7, []
    while place + 7 <= len(data):
        left = 2**15 - place % 2**15  # in the block
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts.append(data[place + 7 : place + 7 + length])
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of wandb's own
def test_weights_and_biases_has_settings_course_and_files(tmp_path, monkeypatch, run_with):
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_SILENT", "true")
    run = run_with(WandB(mode="offline", dir=tmp_path))
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")

    def read_records():
        return [Record.FromString(data) for data in log_records(file.read_bytes())]

    # A process of wandb's own writes the file. It may lag behind, and ends with a record of the exit.
    wait_until(lambda: any(record.WhichOneof("record_type") == "exit" for record in read_records()))
    records = read_records()
    history = [{item.nested_key[0] or item.key: item for item in r.history.item} for r in records if r.history.item]
    course = [json.loads(items["best_fitness"].value_json) for items in history if "best_fitness" in items]
    assert len(course) == 4, [record.WhichOneof("record_type") for record in records]
    assert course[-1] == pytest.approx(run.leaderboard[0].fitness_mean)
    config = {item.key: item.value_json for r in records for item in [*r.config.update, *r.run.config.update]}
    assert config["fidelity.steps"] == "12"
    summary = {item.key: json.loads(item.value_json) for r in records for item in r.summary.update}
    assert summary["best_formula"] == str(run.leaderboard[0].formula)
    assert summary["trial_fitness"] == pytest.approx(run.trial.fitness)
    kept = {path.name for path in file.parent.glob("files/*")}
    assert kept >= {"experiment.toml", "leaderboard.parquet", "best_loss.py"}


def test_the_command_sends_a_search_to_the_tracker_that_it_names(tmp_path):
    (tmp_path / "small.toml").write_text(TOML)
    result = command("search", "small.toml", "--run-dir", "a", "--track", "tensorboard", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "a" / "tensorboard").iterdir())


def test_an_unknown_tracker_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match=r"tensorbord.*tensorboard"):
        known_tracker("tensorbord")


@pytest.mark.parametrize(
    ("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow"), ("wandb", "wandb")]
)
def test_a_missing_library_is_reported_before_the_search(monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"pip install 'lossearch\[{name}\]'"):
        known_tracker(name)


def test_settings_get_dotted_names():
    declared = load_experiment("digits").model_dump(mode="json")
    assert flatten(declared)["evolution.population"] == declared["evolution"]["population"]
    assert flatten({"a": {"b": {"c": [1, 2]}}, "d": None}) == {"a.b.c": "1, 2", "d": None}


def test_a_search_without_evaluations_is_tracked():
    class Recording(TensorBoard):
        def __init__(self):
            self.sent = {}

        def log_numbers(self, values, step):
            self.sent |= values

        def log_text(self, name, text, step): ...

    tracker = Recording()
    warnings = []
    Callbacks([tracker], warnings.append).generation_ended(1, Progress(2, rejected=4, duplicates=5, failed=3))
    assert warnings == []
    assert tracker.sent == {"evaluated": 0, "stopped": 0, "failed": 3, "rejected": 4, "duplicates": 5}


def test_all_names_are_public():
    assert set(lossearch.trackers.__all__) == set(NAMES.values())
