"""Whether stored records are ones that may be, told of all together by their columns.

Invariant: where this says so, none of them would be refused when it is built; where it does not, building them tells.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from lossearch.results.records import CLASS_WEIGHTS, METRICS, Evaluation, Measurement, Status

if TYPE_CHECKING:
    from lossearch.results.record_columns import StoredRecords


def are_sound(columns: "StoredRecords[Any]") -> bool:
    """Whether every record is certainly valid."""
    check = _CHECKS.get(columns.record_type)
    return check is not None and columns.are_complete() and check(columns)


def _sound_evaluations(columns: "StoredRecords[Evaluation]") -> bool:
    evaluated, reason = columns.texts("status").are("evaluated"), columns.texts("reason")
    without_reason = (reason.codes < 0) | reason.are("")
    return (
        columns.distinct("status") <= set(get_args(Status))
        and columns.distinct("class_weights") <= set(CLASS_WEIGHTS)
        and columns.distinct("metric") <= set(METRICS)
        and all(_between(columns, name, high) for name, high in (("fitness", 1.0), ("calibration", math.inf)))
        and _between(columns, "seed", math.inf)
        and np.array_equal(columns.numbers("fitness")[1], evaluated)
        and not (without_reason & ~evaluated).any()
    )


def _sound_measurements(columns: "StoredRecords[Measurement]") -> bool:
    has_value, has_reason = columns.numbers("value")[1], columns.texts("reason").codes >= 0
    return columns.distinct("split") <= {"validation", "test"} and not (has_value == has_reason).any()


def _between(columns: "StoredRecords[Any]", name: str, high: float) -> bool:
    """Whether the numbers of a column are from zero to the highest."""
    least, greatest = columns.range(name)
    return least >= 0 and greatest <= high


_CHECKS: dict[type, Callable[[Any], bool]] = {Evaluation: _sound_evaluations, Measurement: _sound_measurements}
