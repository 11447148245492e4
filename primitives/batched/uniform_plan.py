"""Uniform plan: where every value and every contribution to a gradient of a uniform program lies.

Values have one buffer and contributions another, [rows, classes, samples]. Rows of a group of nodes lie one after the
other; row 0 of the contributions stays zero, for sums with fewer terms than the longest.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lossearch.primitives.batched.joint_program import Argument, Builder, Node, mark
from lossearch.primitives.batched.rows import BufferRows, rows_at
from lossearch.primitives.batched.scheduling import scheduled
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.language.terminals import FEATURES


@dataclass
class UniformCall:
    """One function for a group of rows."""

    function: Callable[..., Any]
    arguments: list[BufferRows]  #: of the values
    result: slice
    gradient: list[BufferRows]  #: contributions to the gradient of the results, to be added up; none without a gradient
    to: list[slice | None]  #: rows of the contributions to each argument's gradient
    widened: tuple[bool, ...]  #: which arguments are the same for every class where others are not


class UniformPlan:
    """The calls of formulas' values and gradients in order, and the rows that they need."""

    def __init__(self, formulas: Sequence[Formula]) -> None:
        self._builder = Builder(hard=False)
        results = [self._builder.add(formula, index) for index, formula in enumerate(formulas)]
        self._nodes = self._builder.nodes
        mark(self._nodes, results)
        for node in self._nodes:
            node.needs_value = True
        self._row: dict[Argument, int] = {}  # of a value
        self._place_given()
        groups = [self._placed(group) for group in scheduled(self._nodes, self._key, patient=True)]
        self.rows_of_values = len(self._row)
        #: The row of each formula's value.
        self.results = [self._row[result] for result in results]
        self._given: dict[Argument, list[int]] = defaultdict(list)  # rows of contributions to a gradient
        self.rows_of_contributions = 1
        #: The row of each formula's gradient in its own value, which everything starts from.
        self.starts = [self._contribute(result) for result in results]
        self.calls = [self._call(*group) for group in reversed(groups)][::-1]
        #: The contributions to each feature's gradient, to be added up.
        self.gradients = {name: self._sums(self._looking_at(name)) for name in self.features}

    def _place_given(self) -> None:
        """Give numbers, shared inputs and features the first rows."""
        given = dict.fromkeys(each for node in self._nodes for each in node.arguments if each.source != "node")
        #: The formulas that look at each feature.
        self.users = {name: [each.index for each in given if each.name == name] for name in FEATURES}
        numbers = [each for each in given if each.source == "number"]
        self._place(numbers)
        #: BufferRows of numbers, of what formulas look at alike by its name, and of features.
        self.numbers = {self._row[each]: each.number for each in numbers}
        self.shared = {each.name: self._place([each]) for each in given if each.source == "input" and each.index < 0}
        self.features = {name: self._place(self._looking_at(name)) for name, users in self.users.items() if users}

    def _looking_at(self, name: str) -> list[Argument]:
        """A feature of each formula that looks at it."""
        return [Argument("input", name, user) for user in self.users[name]]

    def _place(self, values: Iterable[Argument]) -> slice:
        """Give values the next rows."""
        start = len(self._row)
        for value in values:
            self._row[value] = len(self._row)
        return slice(start, len(self._row))

    def _placed(self, group: Sequence[int]) -> tuple[list[Argument], slice]:
        """A group's results, in the order of their arguments, and their rows."""
        ordered = sorted(group, key=lambda index: [self._row[each] for each in self._nodes[index].arguments])
        placed = [Argument("node", index=index) for index in ordered]
        return placed, self._place(placed)

    def _key(self, node: Node) -> Any:
        """Nodes of one key can be computed by one call."""
        return node.function, self._widened(node)

    def _widened(self, node: Node) -> tuple[bool, ...]:
        """Which arguments are the same for every class where others are not: their gradients are sums over classes."""
        kinds = [self._builder.kind_of(each) for each in node.arguments]
        varies = node.has_gradient and (node.kind[0] or any(over_classes for over_classes, _ in kinds))
        return tuple(varies and wanted and not kind[0] for wanted, kind in zip(node.wanted, kinds, strict=True))

    def _call(self, group: Sequence[Argument], result: slice) -> UniformCall:
        """The call for a group. The groups that look at its results are called for first."""
        nodes = [self._nodes[each.index] for each in group]
        columns = list(zip(*(node.arguments for node in nodes), strict=True))
        has_gradient = any(node.has_gradient for node in nodes)
        return UniformCall(
            nodes[0].function,
            [rows_at([self._row[each] for each in column]) for column in columns],
            result,
            self._sums(group) if has_gradient else [],
            [self._contributions(nodes, place) if has_gradient else None for place in range(len(columns))],
            self._widened(nodes[0]),
        )

    def _contribute(self, value: Argument) -> int:
        """A row for one more contribution to the gradient of a value."""
        self._given[value].append(self.rows_of_contributions)
        self.rows_of_contributions += 1
        return self.rows_of_contributions - 1

    def _contributions(self, nodes: Sequence[Node], place: int) -> slice | None:
        """Rows for what a group gives to its arguments in this place; nothing reads those of arguments without."""
        moved = [node.has_gradient and node.wanted[place] for node in nodes]
        if not any(moved):
            return None
        start = self.rows_of_contributions
        for node, is_moved in zip(nodes, moved, strict=True):
            if is_moved:
                self._contribute(node.arguments[place])
            else:
                self.rows_of_contributions += 1
        return slice(start, self.rows_of_contributions)

    def _sums(self, values: Sequence[Argument]) -> list[BufferRows]:
        """The rows to add up for the gradient of each value: as many as the one with the most has, the rest zeros."""
        given = [self._given[value] for value in values]
        terms = max(map(len, given), default=0)
        return [rows_at([each[term] if term < len(each) else 0 for each in given]) for term in range(terms)]
