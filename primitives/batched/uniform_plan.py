"""Uniform plan: the rows of every value and of every contribution to a gradient in a uniform program.

Values have one buffer and contributions another, [rows, classes, samples]. The rows of a group of nodes are
consecutive. Row 0 of the contributions stays zero, for sums with fewer terms than the longest.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lossearch.primitives.batched.joint_program import Argument, Builder, Node, mark_needed
from lossearch.primitives.batched.rows import BufferRows, rows_at, rows_of_terms
from lossearch.primitives.batched.scheduling import schedule
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.language.terminals import FEATURES


@dataclass
class UniformCall:
    """One call for a group of rows."""

    function: Callable[..., Any]
    arguments: list[BufferRows]  #: of the values
    result: slice
    gradient: list[BufferRows]  #: contributions that add up to the gradient of the results; empty without a gradient
    to: list[slice | None]  #: rows of the contributions to each argument's gradient
    widened: tuple[bool, ...]  #: True for arguments that are the same for every class where others are not


class UniformPlan:
    """The calls that compute the values and gradients of formulas, in order, and the rows that they need."""

    def __init__(self, formulas: Sequence[Formula]) -> None:
        self._builder = Builder(hard=False)
        results = [self._builder.add(formula, index) for index, formula in enumerate(formulas)]
        self._nodes = self._builder.nodes
        mark_needed(self._nodes, results)
        for node in self._nodes:
            node.needs_value = True
        self._row: dict[Argument, int] = {}  # row of a value
        self._place_inputs()
        groups = [self._place_group(group) for group in schedule(self._nodes, self._key, patient=True)]
        self.rows_of_values = len(self._row)
        #: The row of each formula's value.
        self.results = [self._row[result] for result in results]
        self._contributed: dict[Argument, list[int]] = defaultdict(list)  # rows of contributions to a gradient
        self.rows_of_contributions = 1
        #: The row of the gradient of each formula's value in itself, from which all others follow.
        self.starts = [self._contribute(result) for result in results]
        self.calls = [self._plan_call(*group) for group in reversed(groups)][::-1]
        #: The contributions that add up to each feature's gradient.
        self.gradients = {name: self._find_sums(self._of_users(name)) for name in self.features}

    def _place_inputs(self) -> None:
        """Give the first rows to numbers, shared inputs and features."""
        arguments = (argument for node in self._nodes for argument in node.arguments)
        given = dict.fromkeys(argument for argument in arguments if argument.source != "node")
        #: The formulas that look at each feature.
        self.users = {name: [argument.index for argument in given if argument.name == name] for name in FEATURES}
        numbers = [argument for argument in given if argument.source == "number"]
        self._place(numbers)
        #: The number in each row that holds one.
        self.numbers = {self._row[argument]: argument.number for argument in numbers}
        shared = [argument for argument in given if argument.source == "input" and argument.index < 0]
        #: Rows of the inputs that are the same for all formulas, and of the features, by name.
        self.shared = {argument.name: self._place([argument]) for argument in shared}
        self.features = {name: self._place(self._of_users(name)) for name, users in self.users.items() if users}

    def _of_users(self, name: str) -> list[Argument]:
        """Return a feature, once for each formula that looks at it."""
        return [Argument("input", name, user) for user in self.users[name]]

    def _place(self, values: Iterable[Argument]) -> slice:
        """Give the next rows to values."""
        start = len(self._row)
        for value in values:
            self._row[value] = len(self._row)
        return slice(start, len(self._row))

    def _place_group(self, group: Sequence[int]) -> tuple[list[Argument], slice]:
        """Give rows to the results of a group, in the order of their arguments. Returns the results and their rows."""
        ordered = sorted(group, key=lambda index: [self._row[argument] for argument in self._nodes[index].arguments])
        placed = [Argument("node", index=index) for index in ordered]
        return placed, self._place(placed)

    def _key(self, node: Node) -> Any:
        """Return the key of a node: one call can compute all nodes of one key."""
        return node.function, self._widened(node)

    def _widened(self, node: Node) -> tuple[bool, ...]:
        """Return True for arguments that are equal for all classes where others are not. Their gradients are sums."""
        kinds = [self._builder.kind_of(argument) for argument in node.arguments]
        varies = node.has_gradient and (node.kind[0] or any(over_classes for over_classes, _ in kinds))
        return tuple(varies and wanted and not kind[0] for wanted, kind in zip(node.wanted, kinds, strict=True))

    def _plan_call(self, group: Sequence[Argument], result: slice) -> UniformCall:
        """Plan the call for a group. The groups that take its results must be planned first."""
        nodes = [self._nodes[argument.index] for argument in group]
        columns = list(zip(*(node.arguments for node in nodes), strict=True))
        has_gradient = any(node.has_gradient for node in nodes)
        return UniformCall(
            nodes[0].function,
            [rows_at([self._row[argument] for argument in column]) for column in columns],
            result,
            self._find_sums(group) if has_gradient else [],
            [self._place_contributions(nodes, place) if has_gradient else None for place in range(len(columns))],
            self._widened(nodes[0]),
        )

    def _contribute(self, value: Argument) -> int:
        """Give a row to one more contribution to the gradient of a value."""
        self._contributed[value].append(self.rows_of_contributions)
        self.rows_of_contributions += 1
        return self.rows_of_contributions - 1

    def _place_contributions(self, nodes: Sequence[Node], place: int) -> slice | None:
        """Give rows to the contributions of a group to its arguments in one place. Some rows may be read by nothing."""
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

    def _find_sums(self, values: Sequence[Argument]) -> list[BufferRows]:
        """Return the rows that add up to the gradient of each value."""
        return [rows_at(rows) for rows in rows_of_terms([self._contributed[value] for value in values])]
