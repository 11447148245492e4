"""Islands: populations that breed apart, and now and then send their best losses to the next island.

Invariant: a birth belongs to the island that proposed it, and only that island learns its fitness. Every island has a
random generator of its own, so what an island proposes does not depend on how often the others were asked.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lossearch.evolution.members import Member, restore_member
from lossearch.evolution.population import Birth, Evolution
from lossearch.primitives.language.formula import Formula
from lossearch.runs.experiment import EvolutionSettings


class Islands:
    """Populations in a ring that are asked in turn; a single island is a plain evolution.

    Island models: Whitley, Rana & Heckendorn, "The island model genetic algorithm", 1999.
    """

    def __init__(self, settings: EvolutionSettings, starting_losses: Sequence[Birth], seed: int) -> None:
        count = settings.islands
        shares = [settings.population // count + (number < settings.population % count) for number in range(count)]
        self._settings, self._starting_losses, self._seed = settings, list(starting_losses), seed
        self._turn = 0  # number of the island to ask next
        self.islands = [
            Evolution(
                settings.model_copy(update={"population": share}),
                starting_losses[number::count],
                _make_generator(seed, number),
            )
            for number, share in enumerate(shares)
        ]

    @property
    def has_starting_losses(self) -> bool:
        """True until every starting loss was asked for."""
        return any(island.has_starting_losses for island in self.islands)

    def ask(self, fresh: bool = False) -> Birth:
        """Propose the next formula: starting losses first, then children. ``fresh`` asks for one without parents."""
        waiting = [number for number, island in enumerate(self.islands) if island.has_starting_losses]
        number = self._turn % len(self.islands)
        if waiting and number not in waiting:
            number = waiting[0]
        self._turn = (number + 1) % len(self.islands)
        birth = self.islands[number].ask(fresh)
        return replace(birth, island=number) if len(self.islands) > 1 else birth

    def tell(self, members: Sequence[Member]) -> None:
        """Add evaluated losses, each to its island, and keep the best of old and new.

        A loss from an island that no longer exists goes to another one.
        """
        for number, island in enumerate(self.islands):
            of_island = [member for member in members if (member.island or 0) % len(self.islands) == number]
            if of_island:
                island.tell(of_island)

    def revalue(self, fitness: Mapping[str, float | None]) -> None:
        """Replace the fitness of losses, by id, on every island that has them; None removes a loss."""
        for island in self.islands:
            island.revalue(fitness)

    def migrate(self) -> None:
        """Copy the best losses of each island to the next one."""
        if len(self.islands) == 1:
            return
        migrants = [self._select_best(island) for island in self.islands]
        for number, members in enumerate(migrants):
            next_number = (number + 1) % len(self.islands)
            island = self.islands[next_number]
            known = {member.loss_id for member in island.population}
            island.tell([member.on_island(next_number) for member in members if member.loss_id not in known])

    def reseed(self, births: int) -> None:
        """Replace the random generators by new ones, derived from the seed and the number of births so far."""
        for number, island in enumerate(self.islands):
            island.generator = _make_generator(self._seed, number, births)

    def state(self) -> dict[str, Any]:
        """Return the state as plain JSON data, for ``restore``."""
        return {"turn": self._turn, "islands": [island.state() for island in self.islands]}

    def restore(self, state: dict[str, Any], read: Callable[[str], Formula], births: int) -> None:
        """Continue from a saved state after ``births`` births; ``read`` parses a formula.

        If the number of islands has changed, members and starting losses are distributed anew, and the islands draw
        from new generators.
        """
        saved = state["islands"]
        if len(saved) != len(self.islands):
            self._distribute(saved, read)
            self.reseed(births)
            return
        self._turn = int(state["turn"])
        for number, (island, saved_island) in enumerate(zip(self.islands, saved, strict=True)):
            island.restore(saved_island, read)
            for member in island.population:
                member.island = number

    def _select_best(self, island: Evolution) -> list[Member]:
        ranked = sorted(island.population, key=lambda member: (-member.worth, member.formula.size))
        return ranked[: self._settings.migrants]

    def _distribute(self, saved: Sequence[dict[str, Any]], read: Callable[[str], Formula]) -> None:
        members = [member for island in saved for member in island["population"]]
        shares = [self._starting_losses[number :: len(saved)] for number in range(len(saved))]
        unborn = [
            birth
            for share, island in zip(shares, saved, strict=True)
            for birth in share[len(share) - island["unborn"] :]
        ]
        count = len(self.islands)
        for number, island in enumerate(self.islands):
            island.set_starting_losses(unborn[number::count])
            island.tell([restore_member(member, read, number) for member in members[number::count]])


def _make_generator(seed: int, island: int, births: int = 0) -> random.Random:
    """Create an island's random generator; the first island of a new search draws from the seed itself."""
    return random.Random(f"{seed}-{island}-{births}" if island or births else seed)
