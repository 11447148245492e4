"""The progress of a study by the steps of its trainings, and how it is shown."""

import io

import pytest
from rich.console import Console

from lossearch.cli import progress_bars
from lossearch.cli.progress_bars import StudyBar, StudyLines
from lossearch.evaluators.executors.executor import InlineExecutor
from lossearch.runs.views import SilentView
from lossearch.studies.compare import compare
from lossearch.studies.step_progress import StepProgress


class Counting(SilentView):
    def __init__(self):
        self.steps, self.num_planned = [], 0

    def planned(self, trainings):
        self.num_planned += trainings

    def advanced(self, trainings, task):
        assert trainings >= 0.0
        self.steps.append(trainings)


def make():
    executor, view = InlineExecutor("cpu"), Counting()
    progress = StepProgress(executor, view)
    progress.listen()
    executor.on_steps(0)
    return executor, view, progress


def test_steps_move_the_count_before_a_training_ends():
    executor, view, progress = make()
    progress.begin("a", "digits", trainings=4, steps=100)
    executor.on_steps(100)  # as many as one of the four takes
    assert sum(view.steps) == pytest.approx(1.0)
    executor.on_steps(300)
    assert sum(view.steps) == pytest.approx(3.0)
    progress.end("a", 4.0)
    assert sum(view.steps) == pytest.approx(4.0)


def test_the_count_never_exceeds_what_is_in_flight_and_ends_at_what_was_done():
    executor, view, progress = make()
    progress.begin("a", "digits", trainings=2, steps=10)
    progress.begin("b", "shapes", trainings=2, steps=40)
    executor.on_steps(10_000)  # more than there are
    assert sum(view.steps) == pytest.approx(4.0)
    progress.end("a", 2.0)
    progress.end("b", 2.0)
    executor.on_steps(20_000)  # late reports of what has ended
    assert sum(view.steps) == pytest.approx(4.0)


def test_a_training_that_fails_early_counts_as_done():
    executor, view, progress = make()
    progress.begin("a", "digits", trainings=1, steps=10)  # half of two trainings, in stages
    executor.on_steps(2)
    progress.end("a", 0.5 + 1.0)  # one fails, one goes on
    assert sum(view.steps) == pytest.approx(1.5)


def test_a_study_shows_its_steps(tmp_path):
    view = Counting()
    options = {"executor": "inline", "seeds": 2, "fidelity": {"steps": 40}}
    compare(tasks=["digits"], losses=["focal"], run_dir=tmp_path / "run", view=view, **options)
    assert sum(view.steps) == pytest.approx(view.num_planned) == pytest.approx(4.0)
    assert len([step for step in view.steps if step]) > 4  # more than there are trainings


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress_bars.time, "monotonic", lambda: now[0])
    return now


def test_lines_tell_counts_and_the_time_left_without_what_was_recalled(clock, capsys):
    view = StudyLines()
    view.planned(100)
    view.recalled(40.0, "digits")
    clock[0] = 6.0  # the workers have started: this time is no pace
    view.advanced(0.26, "digits")
    clock[0] = 30.0
    view.advanced(10.0, "digits")
    assert capsys.readouterr().err == "digits: 50 of 100 trainings, 2 min left\n"
    view.advanced(49.74, "digits")
    assert capsys.readouterr().err == "digits: 100 of 100 trainings\n"


def test_a_bar_tells_rounded_counts_and_the_time_left(clock):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with StudyBar(console) as view:
        view.planned(8)
        clock[0] = 4.0
        view.advanced(0.0333, "digits")
        clock[0] = 24.0
        view.advanced(1.3, "digits")
    assert "digits" in screen.getvalue()
    assert "1 of 8 trainings, 2 min left" in screen.getvalue()
