"""What a formula depends on, by its structure: the target, and predictions that its gradient moves."""

from lossearch.primitives.formula import Call, Formula
from lossearch.primitives.hard_targets import TARGET
from lossearch.primitives.joint_program import FEATURES
from lossearch.primitives.operators import OPERATORS

#: What predictions move.
PREDICTIONS = frozenset({"p", *FEATURES})


def looks_at_target(formula: Formula) -> bool:
    """Whether the value depends on y, by itself or by an operator that reads it."""
    if isinstance(formula, Call):
        reads = TARGET.name in OPERATORS[formula.operator].reads
        return reads or any(map(looks_at_target, formula.arguments))
    return formula == TARGET


def moves(formula: Formula, names: frozenset[str] = PREDICTIONS) -> bool:
    """Whether a gradient can pass from the formula to one of the names."""
    if isinstance(formula, Call):
        return formula.operator != "detach" and any(moves(each, names) for each in formula.arguments)
    return bool(formula.names & names)
