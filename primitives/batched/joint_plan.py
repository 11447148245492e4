"""Joint plan: where every value and gradient of a joint program lies, so that a call reads and writes whole rows.

Values and contributions to gradients have one buffer for each kind, [rows, classes, samples]. Rows of a group of nodes
lie one after the other; row 0 of the contributions stays zero, for sums with fewer terms than the longest.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossearch.primitives.batched.joint_program import Argument, Builder, Kind, call_key, mark
from lossearch.primitives.batched.rows import BufferRows, Source, rows_at
from lossearch.primitives.batched.scheduling import scheduled
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.language.terminals import FEATURES


@dataclass
class KindRows:
    """Rows of the buffer of a kind: where a stacked argument is taken from."""

    kind: Kind
    rows: BufferRows

    def of(self, buffers: Mapping[Kind, Tensor]) -> Source:
        """Where to read them."""
        return self.rows.of(buffers[self.kind])


@dataclass
class PlannedCall:
    """One call for a group of nodes."""

    function: Callable[..., Any]
    arguments: list[Any]  #: KindRows, a shared input's name, a Tensor of numbers, or None where only the shape counts
    kinds: list[Kind]  #: of the arguments
    wanted: tuple[bool, ...]
    rows: int
    kind: Kind
    start: int | None  #: row of the first value, where values are kept
    gradient: list[KindRows]  #: contributions to the gradient of the results, to be added up
    to: list[int | None]  #: row of the first contribution to each argument's gradient


@dataclass
class Feature:
    """A feature that formulas look at: whose it is, where it is put, and what adds up to its gradient."""

    kind: Kind
    start: int
    users: list[int]
    index: Tensor  #: the users on the device
    gradient: list[KindRows]


#: Where a contribution to a gradient starts: the formula, the kind of its value, the row.
Start = tuple[int, Kind, int]


class Plan:
    """The calls of formulas' joint gradient in order, and the rows that they need."""

    def __init__(self, formulas: Sequence[Formula], device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._builder = Builder()
        results = [self._builder.add(formula, index) for index, formula in enumerate(formulas)]
        self._nodes = self._builder.nodes
        mark(self._nodes, results)
        self._groups = scheduled(self._nodes, lambda node: call_key(node, self._builder))
        users = {name: self._users(name) for name in FEATURES}
        self.rows_of_values: dict[Kind, int] = defaultdict(int)
        self.rows_of_contributions: dict[Kind, int] = defaultdict(lambda: 1)
        self._place: dict[Any, int] = {}  # of a value, by node or by feature and formula
        self._given: dict[Any, list[int]] = defaultdict(list)  # contributions to a gradient, likewise
        #: What formulas look at alike: y, index, prior, num_classes, progress.
        self.shared = {each.name for each in self._inputs() if each.index < 0}
        starts = self._place_values(users)
        self.starts: list[Start] = self._start_gradients(results)
        to = self._place_contributions()
        self.calls = [self._call(group, to[position]) for position, group in enumerate(self._groups)]
        self.features = {
            name: Feature(
                feature_kind(name),
                starts[name],
                each,
                torch.tensor(each, dtype=torch.int64, device=device),
                self._sums([self._given[name, user] for user in each], feature_kind(name)),
            )
            for name, each in users.items()
            if each
        }

    def _inputs(self) -> list[Argument]:
        """What live nodes look at."""
        live = (node for node in self._nodes if node.needs_value or node.has_gradient)
        return [each for node in live for each in node.arguments if each.source == "input"]

    def _users(self, name: str) -> list[int]:
        """The formulas that look at a feature."""
        return sorted({each.index for each in self._inputs() if each.name == name})

    def _place_values(self, users: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """Give features, then nodes whose value is needed, their rows; returns each feature's first."""
        starts = {}
        for name, each in users.items():
            starts[name] = self.rows_of_values[feature_kind(name)]
            for user in each:
                self._take_row((name, user), feature_kind(name))
        for group in self._groups:
            for index in group:
                if self._nodes[index].needs_value:
                    self._take_row(index, self._nodes[index].kind)
        return starts

    def _take_row(self, key: Any, kind: Kind) -> None:
        self._place[key] = self.rows_of_values[kind]
        self.rows_of_values[kind] += 1

    def _start_gradients(self, results: Sequence[Argument]) -> list[Start]:
        """Rows for the gradients of the formulas' values, which everything starts from."""
        starts = []
        for formula, result in enumerate(results):
            node = self._nodes[result.index]
            if node.has_gradient:
                starts.append((formula, node.kind, self._contribute(result.index, node.kind)))
        return starts

    def _contribute(self, key: Any, kind: Kind) -> int:
        """A row for one more contribution to the gradient of a node or feature."""
        row = self.rows_of_contributions[kind]
        self.rows_of_contributions[kind] += 1
        self._given[key].append(row)
        return row

    def _place_contributions(self) -> dict[int, list[int | None]]:
        """Rows for what each group gives to its arguments, by the group's position, from the last group on."""
        to: dict[int, list[int | None]] = {}
        for position in range(len(self._groups) - 1, -1, -1):
            group = self._groups[position]
            first = self._nodes[group[0]]
            to[position] = [
                self._contributions(group, place) if first.has_gradient and wanted else None
                for place, wanted in enumerate(first.wanted)
            ]
        return to

    def _contributions(self, group: Sequence[int], place: int) -> int:
        """The first of the rows for what a group gives to its arguments in this place."""
        arguments = [self._nodes[index].arguments[place] for index in group]
        kind = self._builder.kind_of(arguments[0])
        rows = [self._contribute(_key(each), kind) for each in arguments]
        return rows[0]

    def _call(self, group: list[int], to: list[int | None]) -> PlannedCall:
        first = self._nodes[group[0]]
        kinds = [self._builder.kind_of(each) for each in first.arguments]
        return PlannedCall(
            first.function,
            [self._argument([self._nodes[index].arguments[place] for index in group]) for place in range(len(kinds))],
            kinds,
            first.wanted,
            len(group),
            first.kind,
            self._place.get(group[0]),
            self._sums([self._given[index] for index in group], first.kind) if first.has_gradient else [],
            to,
        )

    def _argument(self, column: Sequence[Argument]) -> Any:
        """Where the arguments of a group in one place are."""
        first = column[0]
        if first.source == "number":
            numbers = torch.tensor([each.number for each in column], dtype=torch.float64)
            return numbers.to(self._device, self._dtype).reshape(-1, 1, 1)
        if first.source == "input" and first.index < 0:
            return first.name
        keys = [_key(each) for each in column]
        if not all(key in self._place for key in keys):
            return None
        return self._rows([self._place[key] for key in keys], self._builder.kind_of(first))

    def _rows(self, rows: list[int], kind: Kind) -> KindRows:
        return KindRows(kind, rows_at(rows, self._device))

    def _sums(self, contributions: list[list[int]], kind: Kind) -> list[KindRows]:
        """The rows to add up for each result: as many terms as the one with the most has, the rest zeros."""
        terms = max(map(len, contributions), default=0)
        return [
            self._rows([each[term] if term < len(each) else 0 for each in contributions], kind) for term in range(terms)
        ]


def feature_kind(name: str) -> Kind:
    """Over what a feature varies: all but the norm over the classes."""
    return name != "norm", True


def _key(argument: Argument) -> Any:
    """What a node's or a feature's rows are found by."""
    return argument.index if argument.source == "node" else (argument.name, argument.index)
