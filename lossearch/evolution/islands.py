"""Islands: populations that breed apart, and now and then send their best losses on to the next island.

Invariant: a birth belongs to the island that proposed it, and what it was worth is told to that island alone; every
island has a generator of its own, so that what one proposes does not depend on how often another was asked.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lossearch.evolution.members import Member, restored
from lossearch.evolution.population import Birth, Evolution
from lossearch.primitives.language.formula import Formula
from lossearch.runs.experiment import EvolutionSettings


class Islands:
    """Populations in a ring, asked in turn; of one island alone it is a plain evolution.

    Island models: Whitley, Rana & Heckendorn, "The island model genetic algorithm", 1999.
    """

    def __init__(self, settings: EvolutionSettings, seeds: Sequence[Birth], seed: int) -> None:
        count = settings.islands
        shares = [settings.population // count + (number < settings.population % count) for number in range(count)]
        self._settings, self._seeds, self._seed = settings, list(seeds), seed
        self._turn = 0  # whose it is to be asked
        self.islands = [
            Evolution(settings.model_copy(update={"population": share}), seeds[number::count], _generator(seed, number))
            for number, share in enumerate(shares)
        ]

    @property
    def has_starting_losses(self) -> bool:
        """Whether a seed was not asked for yet."""
        return any(each.has_starting_losses for each in self.islands)

    def ask(self, fresh: bool = False) -> Birth:
        """The next formula to consider; ``fresh`` is one without parents. Seeds of all islands come first."""
        waiting = [number for number, each in enumerate(self.islands) if each.has_starting_losses]
        number = self._turn % len(self.islands)
        if waiting and number not in waiting:
            number = waiting[0]
        self._turn = (number + 1) % len(self.islands)
        birth = self.islands[number].ask(fresh)
        return replace(birth, island=number) if len(self.islands) > 1 else birth

    def tell(self, members: Sequence[Member]) -> None:
        """Take in evaluated losses, each on its island, and keep the best of old and new.

        There may have been more islands when one was born.
        """
        for number, island in enumerate(self.islands):
            own = [each for each in members if (each.island or 0) % len(self.islands) == number]
            if own:
                island.tell(own)

    def revalue(self, worth: Mapping[str, float | None]) -> None:
        """Take in what losses are worth by now, on every island that has them; None of one that failed."""
        for island in self.islands:
            island.revalue(worth)

    def migrate(self) -> None:
        """Send copies of the best losses of each island on to the next one."""
        if len(self.islands) == 1:
            return
        leaving = [self._best(island) for island in self.islands]
        for number, members in enumerate(leaving):
            following = (number + 1) % len(self.islands)
            island = self.islands[following]
            known = {each.loss_id for each in island.population}
            island.tell([each.on_island(following) for each in members if each.loss_id not in known])

    def _best(self, island: Evolution) -> list[Member]:
        ranked = sorted(island.population, key=lambda each: (-each.worth, each.formula.size))
        return ranked[: self._settings.migrants]

    def go_on_anew(self, births: int) -> None:
        """Draw from other generators, which depend on the seed and on how many births there were."""
        for number, island in enumerate(self.islands):
            island.generator = _generator(self._seed, number, births)

    def state(self) -> dict[str, Any]:
        """What continues these islands exactly, as plain JSON data."""
        return {"turn": self._turn, "islands": [each.state() for each in self.islands]}

    def restore(self, state: dict[str, Any], read: Callable[[str], Formula], births: int) -> None:
        """Continue from a saved state after so many births; ``read`` parses a formula.

        Other numbers of islands share members and seeds out anew, and draw from other generators.
        """
        saved = state["islands"]
        if len(saved) != len(self.islands):
            self._share_out(saved, read)
            self.go_on_anew(births)
            return
        self._turn = int(state["turn"])
        for number, (island, before) in enumerate(zip(self.islands, saved, strict=True)):
            island.restore(before, read)
            for member in island.population:
                member.island = number

    def _share_out(self, saved: Sequence[dict[str, Any]], read: Callable[[str], Formula]) -> None:
        members = [each for island in saved for each in island["population"]]
        shares = [self._seeds[number :: len(saved)] for number in range(len(saved))]
        unborn = [
            seed for share, island in zip(shares, saved, strict=True) for seed in share[len(share) - island["unborn"] :]
        ]
        count = len(self.islands)
        for number, island in enumerate(self.islands):
            island.bear(unborn[number::count])
            island.tell([restored(each, read, number) for each in members[number::count]])


def _generator(seed: int, island: int, births: int = 0) -> random.Random:
    """Of one island alone it is the generator of the seed itself."""
    return random.Random(f"{seed}-{island}-{births}" if island or births else seed)
