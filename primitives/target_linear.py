"""Whether a loss is linear in the target: then a weight per class belongs into the target distribution."""

from lossearch.primitives.dependence import looks_at_target
from lossearch.primitives.formula import Call, Formula, Name
from lossearch.primitives.hard_targets import TARGET


def linear_in_target(formula: Formula) -> bool:
    """Whether the value for a mixture of targets is the mixture of the values, as for cross-entropy.

    A structural test: it may miss a formula that is linear only after simplification.
    """
    if not looks_at_target(formula):
        return False
    if isinstance(formula, Name):
        return formula == TARGET
    assert isinstance(formula, Call)
    first, *others = formula.arguments
    match formula.operator:
        case "ce" | "at_target":
            return not looks_at_target(first)
        case "add" | "sub":
            return linear_in_target(first) and linear_in_target(others[0])
        case "mul":
            pairs = ((first, others[0]), (others[0], first))
            return any(linear_in_target(one) and not looks_at_target(other) for one, other in pairs)
        case "div":
            return linear_in_target(first) and not looks_at_target(others[0])
        case "neg" | "sum_c" | "mean_c" | "detach":
            return linear_in_target(first)
    return False
