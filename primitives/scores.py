"""Scores: what a loss over embeddings classifies by, as a formula that does not look at the target."""

from lossearch.primitives.dependence import looks_at_target
from lossearch.primitives.formula import Call, Formula, FormulaError, Name, call
from lossearch.primitives.hard_targets import NoHardForm, at_other_classes
from lossearch.primitives.operators import OPERATORS
from lossearch.primitives.shapes import Shape

_OVER_LOGITS = ("ce", "softmax_c", "log_softmax_c")
_SEES_CLASSES = frozenset({"cosine", "z", "p", "dist2"})


def scores(formula: Formula) -> Formula:
    """Logits without a margin: the argument of the formula's first cross-entropy or softmax where y is 0.

    So am_softmax's ``ce(s*(cosine - m*y))`` scores by ``s*cosine``. A formula that has no such argument scores by
    the first that it looks at of cosine, logits and minus the squared distance to the class centers.
    """
    for each in formula.walk():
        if isinstance(each, Call) and each.operator in _OVER_LOGITS:
            found = _without_target(each.arguments[0])
            if found is not None:
                return found
    if "cosine" in formula.names:
        return Name("cosine")
    if "dist2" in formula.names and not formula.names & {"z", "p"}:
        return call("neg", Name("dist2"))
    return Name("z")


def _without_target(logits: Formula) -> Formula | None:
    """The logits where y is 0, if they still tell classes apart and need nothing but a sample."""
    try:
        found = at_other_classes(logits)
    except (NoHardForm, FormulaError):
        return None
    reads = {name for each in found.walk() if isinstance(each, Call) for name in OPERATORS[each.operator].reads}
    usable = found.shape is Shape.CLASS and not looks_at_target(found) and "counted" not in reads
    return found if usable and found.names & _SEES_CLASSES else None
