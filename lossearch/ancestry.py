"""Ancestry: when the oldest ancestor of each loss was born, as age-fitness Pareto optimisation counts age.

Schmidt & Lipson, "Age-fitness Pareto optimization", GPTP 2010. The age of a loss grows with each generation, which
changes no comparison of two: the generation of the oldest ancestor stands for it, the later the younger.
"""

from collections.abc import Mapping, Sequence

from lossearch.member import AgedFitness, Member


class Ancestry:
    """Traces losses to their oldest ancestors.

    Parents that have left the population are remembered for a while, so many at most: their children may still be in
    training.
    """

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        self.left: dict[str, int] = {}  #: the generation of the oldest ancestor, by the id of the loss

    def trace(self, members: Sequence[Member], population: Sequence[Member]) -> None:
        """Give members their origins and fitness in three objectives; parents that nobody remembers count as oldest."""
        origins = self.left | {each.loss_id: each.origin or 0 for each in population}
        oldest = min(origins.values(), default=0)
        for member in members:
            if member.origin is None:
                of_parents = [origins.get(each, oldest) for each in member.parents]
                member.origin = min([member.generation, *of_parents])
            count_age(member)

    def remember(self, everyone: Sequence[Member], kept: Sequence[Member]) -> None:
        """Remember those who leave."""
        staying = {each.loss_id for each in kept}
        self.left |= {each.loss_id: each.origin or 0 for each in everyone if each.loss_id not in staying}
        for loss_id in list(self.left)[: max(0, len(self.left) - self._remembered)]:
            del self.left[loss_id]

    def restore(self, left: Mapping[str, int], population: Sequence[Member]) -> None:
        """Continue from those who left, and a population; one from before ages counted is as old as can be."""
        self.left = {loss_id: int(origin) for loss_id, origin in left.items()}
        for member in population:
            member.origin = member.origin or 0
            count_age(member)


def count_age(member: Member) -> None:
    """Make the origin of a member its third objective."""
    crowding = getattr(member.fitness, "crowding_dist", None)
    member.fitness = AgedFitness((*member.fitness.values[:2], float(member.origin or 0)))
    if crowding is not None:
        member.fitness.crowding_dist = crowding
