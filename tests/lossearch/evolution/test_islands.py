"""Islands: births in turn, migration, and saved states."""

import json
import random

import pytest

from lossearch.engine.breeding import birth_of_named
from lossearch.engine.launch import SearchInterrupted, search
from lossearch.evolution.islands import Islands
from lossearch.evolution.members import Member
from lossearch.evolution.population import Evolution
from lossearch.primitives.language.parser import parse
from lossearch.runs.experiment import EvolutionSettings, ExperimentError, validated
from tests.lossearch.small import SMALL, records, stopped_at

SETTINGS = EvolutionSettings(population=12, islands=3, migrants=1, seeds=("cross_entropy", "mse", "mae", "focal"))
ISLANDS = SMALL.model_copy(
    update={"evolution": SMALL.evolution.model_copy(update={"islands": 2, "migration_interval": 2, "migrants": 1})}
)


def islands(settings=SETTINGS, seed=0):
    return Islands(settings, [birth_of_named(text) for text in settings.seeds], seed)


def lived(started, births, fitness):
    """Ask for births, and tell each its fitness."""
    born = [started.ask() for _ in range(births)]
    started.tell([Member(f"id-{birth.formula}", birth.formula, fitness(birth), None, birth.island) for birth in born])
    return born


def test_islands_give_births_in_turn_and_starting_losses_first():
    started = islands()
    first = [started.ask() for _ in SETTINGS.seeds]
    assert sorted(birth.name for birth in first) == sorted(SETTINGS.seeds)
    assert not started.has_starting_losses
    assert [started.ask().island for _ in range(6)] in ([1, 2, 0, 1, 2, 0], [2, 0, 1, 2, 0, 1], [0, 1, 2, 0, 1, 2])


def test_the_fitness_of_a_loss_reaches_only_its_island():
    started = islands()
    lived(started, 30, lambda birth: 0.1 * birth.island)
    for number, island in enumerate(started.islands):
        assert island.population
        assert {member.island for member in island.population} == {number}
        assert len(island.population) <= 4


def test_the_best_losses_migrate_to_the_next_island_and_stay_where_they_were():
    started = islands()
    lived(started, 30, lambda birth: 0.3 * birth.island + 0.001 * birth.formula.size)
    best = [max(island.population, key=lambda member: member.fitness.values[0]).loss_id for island in started.islands]
    started.migrate()
    there = [{member.loss_id for member in island.population} for island in started.islands]
    assert best[2] in there[0]  # better than all losses there
    assert best[2] in there[2]
    assert all(member.island == number for number, island in enumerate(started.islands) for member in island.population)


def test_one_island_is_a_plain_evolution():
    settings = SETTINGS.model_copy(update={"islands": 1})
    alone = Evolution(settings, [birth_of_named(text) for text in settings.seeds], random.Random(5))
    started = islands(settings, seed=5)
    assert [started.ask() for _ in range(40)] == [alone.ask() for _ in range(40)]


def test_islands_continue_exactly_from_their_saved_state():
    whole, other = islands(), islands()
    lived(whole, 31, lambda birth: birth.formula.size / 100)
    other.restore(json.loads(json.dumps(whole.state())), parse, births=31)
    for archipelago in (whole, other):
        archipelago.migrate()
    assert [whole.ask() for _ in range(30)] == [other.ask() for _ in range(30)]


@pytest.mark.parametrize("asked", [0, 1, 3])
def test_another_number_of_islands_redistributes_members_and_starting_losses(asked):
    before = islands()
    born = lived(before, asked, lambda birth: 0.5)
    state = json.loads(json.dumps(before.state()))
    other = islands(SETTINGS.model_copy(update={"islands": 2}))
    other.restore(state, parse, births=asked)
    seeds = [other.ask() for _ in range(len(SETTINGS.seeds) - asked)]
    assert sorted(birth.name for birth in [*born, *seeds]) == sorted(SETTINGS.seeds)
    assert not other.has_starting_losses
    assert sum(len(island.population) for island in other.islands) == asked
    again = islands(SETTINGS.model_copy(update={"islands": 2}))
    again.restore(state, parse, births=asked)
    later = islands(SETTINGS.model_copy(update={"islands": 2}))
    later.restore(state, parse, births=asked + 1)
    for archipelago in (again, later):
        [archipelago.ask() for _ in seeds]
    fresh = [[islands.ask(fresh=True).formula for _ in range(12)] for islands in (other, again, later)]
    assert fresh[0] == fresh[1] != fresh[2]


def test_the_fitness_of_a_loss_from_a_removed_island_reaches_another():
    started = islands()
    started.tell([Member("id", parse("ce(z)"), 0.5, None, 7)])
    assert [len(island.population) for island in started.islands] == [0, 1, 0]


def test_a_resumed_search_on_islands_has_the_same_records(tmp_path, monkeypatch):
    search(ISLANDS, run_dir=tmp_path / "whole")
    with stopped_at(monkeypatch, 9, SearchInterrupted):
        search(ISLANDS, run_dir=tmp_path / "stopped")
    search(ISLANDS, run_dir=tmp_path / "stopped", resume=True)
    assert records(tmp_path / "stopped") == records(tmp_path / "whole")
    assert {evaluation.island for evaluation in records(tmp_path / "whole")} == {0, 1}


def test_too_many_islands_are_refused():
    declared = {"name": "x", "task": "digits", "evolution": {"population": 5, "islands": 3}}
    with pytest.raises(ExperimentError, match="population = 5: expected at least two losses for each of 3 islands"):
        validated(declared, "x")
