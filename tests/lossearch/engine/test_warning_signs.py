"""A search says in one line each that its inputs are wild, that nothing trains, or that all scores are equal."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from lossearch.cli.app import app
from lossearch.engine.launch import search
from lossearch.engine.warning_signs import warn_of_baseline, warn_of_equal_scores
from lossearch.evaluators.work import Candidate, record
from lossearch.results.storage.logged_warnings import logged_warnings
from lossearch.runs import session as workers
from lossearch.runs.status import status
from tests.evaluators.executors.test_executor import Shuffled
from tests.lossearch.small import SMALL, Warned

LABELS = np.arange(240) % 3


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LOSSEARCH_DATA", str(tmp_path_factory.mktemp("home")))


def table(path, inputs, targets=LABELS):
    """Write a file of arrays, and an experiment of one generation on it."""
    np.savez(path / "wines.npz", inputs=inputs.astype(np.float32), targets=targets)
    (path / "wines.toml").write_text(
        f'name = "wines"\ntask = "wines"\n[data.wines]\narrays = "{path / "wines.npz"}"\n[fidelity]\nsteps = 40\n'
        '[evolution]\npopulation = 4\ngenerations = 1\nseeds = ["cross_entropy", "focal", "mse", "mae"]\n'
        '[executor]\nkind = "inline"\n'
    )
    return path / "wines.toml"


def separable(spread=0.3):
    return 4.0 * np.eye(3)[LABELS] + np.random.default_rng(0).normal(0.0, spread, (240, 3))


def noise():
    return np.random.default_rng(1).normal(size=(240, 3))


def lossearch(*words):
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.stderr
    return done


def searched(path, tmp_path):
    return lossearch("search", path, "--run-dir", tmp_path / "run").stderr


def test_unscaled_columns_are_named_before_a_search_and_at_its_end(tmp_path):
    path = table(tmp_path, separable() * (1.0, 20_000.0, 1.0))
    sign = "warning: The inputs of wines have wild scales: the standard deviation is"
    assert sign in lossearch("search", path, "--dry-run").stdout
    said = searched(path, tmp_path)
    assert said.count(sign) == 2  # at the start, and at the end
    assert "in column 1 and" in said
    assert "Standardise them" in said


def test_labels_that_say_nothing_are_noticed_in_the_first_generation_and_at_the_end(tmp_path):
    said = searched(table(tmp_path, noise()), tmp_path)
    sign = "warning: Nothing trains on wines: cross-entropy reaches accuracy"
    assert said.count(sign) == 2
    assert "Check the labels, the scale of the inputs, the learning rate (now" in said
    (message,) = logged_warnings(tmp_path / "run" / "log.jsonl")
    assert status(tmp_path / "run").warnings == [message]
    assert f"warning: {message}\n" in lossearch("status", tmp_path / "run").stdout


class Ordered(Shuffled):
    """Finishes work with cross-entropy in it as the first or as the last."""

    def __init__(self, is_last):
        super().__init__()
        self.is_last = is_last

    def wait(self, pending, timeout):
        waiting = [job for job in pending if not job.done()]
        if waiting:
            min(waiting, key=lambda job: self._has_baseline(job) is self.is_last).finish()

    def _has_baseline(self, job):
        return any(candidate.name == "cross_entropy" for candidate in job.work.candidates)


def searched_steadily(tmp_path, **options):
    path = table(tmp_path, noise())
    text = path.read_text().replace("generations = 1", 'generations = 2\nmode = "steady"')
    path.write_text(text.replace("steps = 40", "steps = 5"))
    view = Warned()
    run = search(path, run_dir=tmp_path / "run", view=view, **options)
    (baseline,) = [message for message in run.warnings if message.startswith("Nothing trains on wines: cross-entropy")]
    assert view.warnings.count(baseline) == 1
    return [json.loads(line)["event"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("is_last", [False, True])
def test_a_steady_search_warns_as_soon_as_cross_entropy_has_its_result(tmp_path, monkeypatch, is_last):
    monkeypatch.setattr(workers, "InlineExecutor", lambda device: Ordered(is_last))
    events = searched_steadily(tmp_path)
    assert (events.index("warning") > events.index("generation")) is is_last


@pytest.mark.xdist_group("ray")
@pytest.mark.usefixtures("shared_ray")
def test_warnings_appear_on_ray(tmp_path):
    assert "warning" in searched_steadily(tmp_path, executor="ray")


def test_a_task_that_all_losses_solve_is_noticed(tmp_path):
    said = searched(table(tmp_path, separable()), tmp_path)
    assert "have the same accuracy, 1.0000: the search cannot tell them apart. The task is too easy" in said
    assert "Nothing trains" not in said


def evaluations(*fitness, **changes):
    """Make evaluations of candidates of SMALL, the first of which is cross-entropy."""
    made = []
    for number, value in enumerate(fitness):
        name = None if number else "cross_entropy"
        candidate = Candidate(f"loss{number}", f"{number + 1}*ce(z)", 3, 0, "random", number, name=name)
        outcome = {"status": "evaluated", "fitness": value, **(changes if name else {})}
        made.append(record(candidate, SMALL.work("digits", [candidate]), seed=0, **outcome))
    return made


def signs(*fitness, **changes):
    known = evaluations(*fitness, **changes)
    return [*warn_of_baseline(SMALL, known), *warn_of_equal_scores(known)]


def test_ordinary_scores_are_no_sign():
    assert signs(0.8, 0.81, 0.5, 0.1) == []
    assert signs(0.8, 0.8, 0.8) == []  # too few to judge by


def test_nearly_equal_scores_are_a_sign():
    (sign,) = signs(*[0.8] * 9, 0.7)
    assert sign.startswith("9 of 10 losses of the first generation have the same accuracy, 0.8000")
    assert signs(*[0.8] * 8, 0.7, 0.6) == []


def test_a_baseline_that_failed_is_a_sign():
    (sign,) = signs(None, 0.8, 0.7, status="failed", reason="diverged at step 3 of 12")
    assert sign.startswith("Cross-entropy does not train on digits: diverged at step 3 of 12. Check the labels")


def test_warnings_of_a_strangers_log_are_only_data(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(
        '{"event": "warning", "message": "\\u001b[2J'
        + "x" * 10_000
        + '"}\n{"event": "warning", "message": [1]}\n'
        + "".join(f'{{"event": "warning", "message": "{number % 50}"}}\n' for number in range(99))
    )
    messages = logged_warnings(log)
    assert (len(messages), max(map(len, messages))) == (20, 600)
    assert messages[0].isprintable()
