"""Searches whose selection is another than the plain one: each mode, islands, and going on after a stop."""

import pytest

from lossearch.islands import Islands
from lossearch.launch import SearchInterrupted, search
from tests.lossearch.small import SMALL, records, stopped_at
from tests.lossearch.test_evolution import SELECTIONS
from tests.lossearch.test_several_tasks import SEVERAL
from tests.lossearch.test_steady import WANTED, require_each_once
from tests.lossearch.test_steady import trained as trained_in

#: Long enough for all of them to matter.
SELECTED = SELECTIONS | {"niches": {"niche_radius": 0.1}}


def selecting(changes, **more):
    evolution = SMALL.evolution.model_copy(update={"generations": 6} | changes | more)
    return SMALL.model_copy(update={"evolution": evolution})


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "plain"
    search(selecting({}), run_dir=path)
    return records(path)


@pytest.mark.parametrize("selection", SELECTED)
def test_a_search_is_another_and_goes_on_record_for_record(tmp_path, monkeypatch, plain, selection):
    experiment = selecting(SELECTED[selection])
    search(experiment, run_dir=tmp_path / "whole")
    with stopped_at(monkeypatch, 8, SearchInterrupted):
        search(experiment, run_dir=tmp_path / "stopped")
    search(experiment, run_dir=tmp_path / "stopped", resume=True)
    assert records(tmp_path / "stopped") == records(tmp_path / "whole") != plain


def test_a_search_on_islands_goes_on_record_for_record_with_every_selection(tmp_path, monkeypatch):
    experiment = selecting(SELECTED["all"], islands=2, migration_interval=1, migrants=1)
    search(experiment, run_dir=tmp_path / "whole")
    with stopped_at(monkeypatch, 8, SearchInterrupted):
        search(experiment, run_dir=tmp_path / "stopped")
    search(experiment, run_dir=tmp_path / "stopped", resume=True)
    assert records(tmp_path / "stopped") == records(tmp_path / "whole")
    assert {each.island for each in records(tmp_path / "whole")} == {0, 1}


@pytest.mark.parametrize("selection", SELECTED)
def test_a_steady_search_that_was_stopped_goes_on_and_has_everything_once(tmp_path, monkeypatch, selection):
    path, experiment = tmp_path / "run", selecting(SELECTED[selection], mode="steady", generations=4)
    with stopped_at(monkeypatch, 9, SearchInterrupted):
        search(experiment, run_dir=path)
    kept = require_each_once(path)
    search(experiment, run_dir=path, resume=True)
    assert require_each_once(path)[: len(kept)] == kept
    assert len(trained_in(path)) == WANTED


def test_the_cases_of_a_loss_are_its_fitness_on_each_task_under_each_seed(tmp_path, monkeypatch):
    tell, told = Islands.tell, []
    monkeypatch.setattr(Islands, "tell", lambda self, members: (told.extend(members), tell(self, members))[1])
    run = search(SEVERAL, run_dir=tmp_path / "run")
    ended = [each for each in run.leaderboard.evaluations if each.fitness is not None and not each.at_a_rung]
    assert told
    for member in told:
        own = {(each.task, each.seed): each.fitness for each in ended if each.loss_id == member.loss_id}
        assert member.cases == tuple(own[task, seed] for task in sorted(SEVERAL.tasks) for seed in (0, 1))
        (born,) = {(each.parents, each.generation) for each in ended if each.loss_id == member.loss_id}
        assert (member.parents, member.generation) == born
