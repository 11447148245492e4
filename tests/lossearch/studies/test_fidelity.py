"""The fidelity study: its trainings and seeds, its files, how it continues, and the options that are refused."""

import json
import shutil
from dataclasses import replace

import polars
import pytest
from typer.testing import CliRunner

import lossearch
from lossearch.cli.app import app
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import TASKS
from lossearch.evaluators.work import Work, training_seed
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.errors import UserError
from lossearch.primitives.identity.fingerprint import FingerprintArchive, fingerprints
from lossearch.primitives.language.parser import parse
from lossearch.results.findings.proxies import FULL, PROXIES, proxy_lines, read_lines, read_values
from lossearch.results.records import Measurement
from lossearch.results.storage.store import RecordStore
from lossearch.runs import session as workers
from lossearch.runs.experiment import Experiment
from lossearch.runs.seed_ranges import (
    COMPARISON,
    EXPLANATION,
    FULL_TRAINING,
    OBSERVATION,
    PROXY_TRAINING,
    SIMPLIFIED_LOSS,
    TUNING,
)
from lossearch.runs.views import SilentView
from lossearch.studies import fidelity as launch_fidelity
from lossearch.studies.fidelity import (
    KNOWN_SHARE,
    draw_samples,
    fidelity,
    proxy_of,
)
from lossearch.studies.runner import StudyInterrupted
from tests.lossearch.small import Interrupting, stopped_at

STEPS, CANDIDATES, SEEDS = 16, 10, 2
SMALL = {"candidates": CANDIDATES, "seeds": SEEDS, "executor": "inline"}


@pytest.fixture(scope="module")
def quick():
    """A task on digits that is trained for a moment, and whose test split cannot be loaded."""

    def refused():
        raise AssertionError("the test split was loaded")

    short = TASKS["digits"].fidelity.model_copy(update={"steps": STEPS})
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(TASKS, "digits", replace(TASKS["digits"], fidelity=short, load_test=refused))
        yield


@pytest.fixture(scope="module")
def done(quick, tmp_path_factory):
    return fidelity(["digits"], **SMALL, out=tmp_path_factory.mktemp("fidelity") / "a")


def without_times(path):
    records, damages = RecordStore(path / "measurements", Measurement).read()
    assert not damages
    timeless = (replace(measurement, seconds=None, finished_at=None) for measurement in records)
    return sorted(timeless, key=lambda measurement: measurement.measurement_id)


def test_every_candidate_is_trained_fully_and_by_every_proxy(done):
    values = read_values(done.path)
    losses = {value.loss_id for value in values}
    assert len(losses) == CANDIDATES
    for proxy, steps in ((FULL, STEPS), ("1/8", 2), ("1/4", 4), ("1/2", 8), ("all steps", STEPS)):
        of_proxy = [value for value in values if value.proxy == proxy]
        first = FULL_TRAINING if proxy == FULL else PROXY_TRAINING
        assert {value.steps for value in of_proxy} == {steps}
        assert {(value.loss_id, value.seed) for value in of_proxy} == {
            (loss, seed) for loss in losses for seed in (first, first + 1)
        }
        assert len(of_proxy) == 2 * CANDIDATES


def test_a_value_is_the_metric_of_its_recorded_training(done):
    records, _ = RecordStore(done.path / "measurements", Measurement).read()
    measured = {
        (measurement.formula, measurement.fidelity, measurement.seed): measurement.value
        for measurement in records
        if measurement.measure == "accuracy"
    }
    full = TASKS["digits"].fidelity
    for value in read_values(done.path):
        trained = full if value.proxy == FULL else proxy_of(full, value.proxy, 1)
        assert value.fitness == measured[value.formula, trained.label(), value.seed]
    assert {measurement.split for measurement in records} == {"validation"}


def test_seeds_of_all_kinds_of_training_are_disjoint(done):
    work = Work((), "digits", TASKS["digits"].fidelity, 0, measured="validation")
    firsts = (FULL_TRAINING, PROXY_TRAINING, TUNING, EXPLANATION, SIMPLIFIED_LOSS, COMPARISON, OBSERVATION)
    drawn = [training_seed(work, first + number) for first in firsts for number in range(50)]
    assert len(set(drawn)) == len(drawn)


def test_the_files_equal_the_returned_values(done):
    assert read_lines(done.path) == done.lines == proxy_lines(read_values(done.path))
    table = polars.read_parquet(done.path / "table.parquet")
    assert table["tau"].to_list() == [line.tau for line in done.lines]
    assert set(polars.read_parquet(done.path / "values.parquet").columns) >= {
        "task", "formula", "loss_id", "proxy", "seed", "fitness"
    }  # fmt: skip


def test_an_interrupted_study_equals_an_uninterrupted_one(done, tmp_path, monkeypatch):
    with stopped_at(monkeypatch, 3, StudyInterrupted):
        fidelity(["digits"], **SMALL, out=tmp_path / "b")
    before = len(without_times(tmp_path / "b"))
    assert 0 < before < len(without_times(done.path))
    assert fidelity(["digits"], **SMALL, out=tmp_path / "b").lines == done.lines
    assert without_times(tmp_path / "b") == without_times(done.path)


def test_a_damaged_part_is_set_aside_and_its_trainings_are_repeated(done, tmp_path):
    path, said = tmp_path / "d", []
    shutil.copytree(done.path, path)
    part = max((path / "measurements").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:100])
    view = SilentView()
    view.warned = said.append
    assert fidelity(["digits"], **SMALL, out=path, view=view).lines == done.lines
    assert without_times(path) == without_times(done.path)
    assert len(said) == len(list((path / "measurements").glob("*.damaged"))) == 1
    assert "its trainings are done again" in said[0]


def test_a_directory_of_another_study_is_refused(done):
    with pytest.raises(UserError, match="seed was 0, is 1"):
        fidelity(["digits"], **SMALL, seed=1, out=done.path)


def test_a_full_training_that_changed_is_not_mixed_with_the_earlier_one(done, monkeypatch):
    changed = TASKS["digits"].fidelity.model_copy(update={"learning_rate": 0.2})
    monkeypatch.setitem(TASKS, "digits", replace(TASKS["digits"], fidelity=changed))
    with pytest.raises(UserError, match=r"learning_rate was 0\.1, is 0\.2"):
        fidelity(["digits"], **SMALL, out=done.path)


def test_an_empty_list_of_tasks_does_not_mean_all_tasks(tmp_path):
    with pytest.raises(UserError, match=r"Expected tasks, got an empty list\. Name some"):
        fidelity([], **SMALL, out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_without_tasks_every_task_without_download_is_studied(monkeypatch):
    def refused(plan, tasks):
        raise UserError(" ".join(tasks))

    monkeypatch.setattr(launch_fidelity, "require_data", refused)
    every = " ".join(name for name, task in TASKS.items() if not task.needs_download)
    with pytest.raises(UserError, match=f"^{every}$"):
        fidelity(**SMALL)
    assert run("--executor", "inline").stderr == f"error: {every}\n"


def test_a_directory_whose_name_is_too_long_is_refused():
    shown = run("--task", "digits", "--executor", "inline", "--out", "a" * 300)
    assert shown.exit_code == 2
    assert "expected a directory that can be read, got: File name too long" in shown.stderr


def test_the_public_name_is_the_function():
    assert lossearch.fidelity is fidelity
    assert "fidelity" in lossearch.__all__


@pytest.mark.parametrize(
    ("tasks", "more", "message"),
    [
        (["digit"], {}, "Unknown task 'digit'.*digits"),
        (["digits", "digits"], {}, "task named twice"),
        (["digits"], {"candidates": 9}, "candidates: expected greater than or equal to 10, got 9"),
        (["digits"], {"seeds": 0}, "seeds: expected greater than or equal to 1, got 0"),
        (["digits"], {"executor": "dask"}, "ray or inline, got 'dask'"),
    ],
)
def test_invalid_studies_are_refused(tasks, more, message, tmp_path):
    with pytest.raises(UserError, match=message):
        fidelity(tasks, **{**SMALL, **more}, out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


# The sample.


def experiments(*tasks, seed=0):
    return [Experiment(name="a", task=task, seed=seed) for task in tasks]


@pytest.fixture(scope="module")
def sample():
    return draw_samples(experiments("digits"), 60)[0]


def test_a_sample_has_the_requested_size_and_holds_known_and_random_losses(sample):
    known = [candidate for candidate in sample if candidate.name is not None]
    assert len(sample) == 60
    assert len(known) == int(KNOWN_SHARE * 60)
    assert {loss.name for loss in known} <= CATALOG.keys()
    assert {candidate.birth for candidate in sample if candidate.name is None} == {"random"}


def test_no_two_of_a_sample_train_alike(sample):
    archive = FingerprintArchive()
    columns = [parse(candidate.formula) for candidate in sample], [candidate.class_weights for candidate in sample]
    for candidate, fingerprint in zip(sample, fingerprints(*columns), strict=True):
        assert archive.find(fingerprint) is None, candidate.formula
        archive.add(fingerprint, candidate.loss_id)


def test_a_sample_depends_on_its_seed(sample):
    again, other = draw_samples(experiments("digits"), 60)[0], draw_samples(experiments("digits", seed=1), 60)[0]
    assert again == sample
    assert {candidate.loss_id for candidate in other} != {candidate.loss_id for candidate in sample}


def test_tasks_with_the_same_suitable_losses_share_one_sample():
    first, second = draw_samples(experiments("digits", "glyphs"), 12)
    assert first is second


# The trainings.


def test_a_proxy_is_a_complete_training_with_fewer_steps():
    full = TrainingSettings(steps=80, schedule="step", milestones=(40, 60), warm_up=8, seeds=4, learning_rate=0.3)
    proxy = proxy_of(full, "1/4", 2)
    assert (proxy.steps, proxy.milestones, proxy.warm_up, proxy.seeds, proxy.learning_rate) == (20, (10, 15), 2, 2, 0.3)
    assert proxy_of(full, "all steps", 4) == full
    cosine = proxy_of(TrainingSettings(steps=80), "1/8", 1)
    assert cosine.learning_rate_at(5) == pytest.approx(TrainingSettings(steps=80).learning_rate_at(40))
    assert set(PROXIES) == {"1/8", "1/4", "1/2", "all steps"}


# The command.


def run(*words):
    return CliRunner().invoke(app, ["fidelity", *map(str, words)])


def words(done):
    return [
        "--task",
        "digits",
        "--candidates",
        CANDIDATES,
        "--seeds",
        SEEDS,
        "--executor",
        "inline",
        "--out",
        done.path,
    ]


def test_the_command_shows_the_table_and_the_chosen_proxy(done):
    shown = run(*words(done))
    assert shown.exit_code == 0
    assert "digits: accuracy on the validation split, full training 16 steps x 2 seeds" in shown.stdout
    assert "noise ceiling" in shown.stdout
    assert "the cheapest proxy with" in shown.stderr or "no proxy reaches" in shown.stderr
    assert f"Values and table: {done.path}" in shown.stderr


def test_the_command_prints_json_alone(done):
    shown = run(*words(done), "--json")
    lines = json.loads(shown.stdout)
    assert [(line["proxy"], line["seeds"], line["tau"]) for line in lines] == [
        (line.proxy, line.seeds, line.tau) for line in done.lines
    ]


def test_an_interrupted_command_says_how_to_go_on(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "InlineExecutor", lambda device: Interrupting(1))
    path = tmp_path / "c"
    shown = run("--task", "digits", "--candidates", CANDIDATES, "--executor", "inline", "--out", path)
    assert shown.exit_code == 130
    again = f"fidelity --task digits --candidates {CANDIDATES} --seeds 4 --seed 0 --executor inline --out {path}"
    assert shown.stderr.rstrip().endswith(again)


def test_the_command_refuses_unknown_values():
    shown = run("--task", "digitz")
    assert shown.exit_code == 2
    assert "Unknown task 'digitz'" in shown.stderr
    assert run("--candidates", 5).exit_code == 2
