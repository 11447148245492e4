"""Ablation: a loss without each of its parts in turn, and without all that were not shown to matter."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lossearch.evaluators.screening.screening import rejection
from lossearch.evaluators.work import Candidate
from lossearch.primitives.analysis.terms import Part, parts_of, without
from lossearch.primitives.identity.algebra import canonical
from lossearch.primitives.identity.fingerprint import RESOLUTION, fingerprint
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.modules.class_weights import suits
from lossearch.results.findings.comparison import Line
from lossearch.results.findings.explanation import PartEffect, PartKind, PartVerdict
from lossearch.results.records import loss_id


@dataclass(frozen=True)
class Ablated:
    """What is left of a loss without some parts; no candidate where it need not or cannot be trained, but the reason.

    ``verdict`` is what may be said without training it.
    """

    parts: tuple[Part, ...]
    formula: Formula | None
    candidate: Candidate | None
    verdict: PartVerdict = "does not train"
    reason: str | None = None

    @property
    def text(self) -> str:
        """The parts that were left out."""
        return ", ".join(part.text for part in self.parts)


def as_candidate(formula: Formula, class_weights: str | None, name: str | None = None) -> Candidate:
    """The candidate of a formula; class weights count where it looks at embeddings."""
    kind = (class_weights or "learned") if formula.looks_at_embeddings else None
    text = str(formula)
    return Candidate(loss_id(text, kind), text, formula.size, 0, "known", 0, (), name, kind)


def ablations(formula: Formula, class_weights: str | None) -> list[Ablated]:
    """The loss without each of its parts."""
    return [ablated(formula, [part], class_weights) for part in parts_of(formula)]


def ablated(formula: Formula, parts: Sequence[Part], class_weights: str | None) -> Ablated:
    """The loss without these parts, in its canonical form, unless it is known beforehand what becomes of it."""
    left = without(formula, parts)
    if left is None:
        return Ablated(tuple(parts), None, None, reason="nothing is left")
    left = canonical(left)
    candidate = as_candidate(left, class_weights)
    if candidate.class_weights is not None and not suits(candidate.class_weights, left):
        return Ablated(tuple(parts), left, None, reason=f"{candidate.class_weights} class weights do not suit it")
    if _trains_alike(left, formula, class_weights):
        return Ablated(tuple(parts), left, None, "moves no weight")
    reason = rejection(left, candidate.class_weights)
    return Ablated(tuple(parts), left, candidate if reason is None else None, reason=reason)


def _trains_alike(left: Formula, whole: Formula, class_weights: str | None) -> bool:
    """Whether both have one gradient, up to a factor."""
    one, other = (fingerprint(each, class_weights) for each in (left, whole))
    if one is None or other is None or one[0] != other[0]:
        return False
    return all(abs(a - b) <= RESOLUTION for a, b in zip(one[1:], other[1:], strict=True))


def simplified(
    formula: Formula, class_weights: str | None, effects: Sequence[PartEffect], found: Sequence[Ablated]
) -> Ablated | None:
    """The loss without the parts that were not shown to matter on any task; None where none that moves weights is.

    Parts are left out from the least harmful on, and one stays where the screening rejects what is left without it.
    """
    idle = _idle(effects, found)
    left_out: list[Part] = []
    best: Ablated | None = None
    for each in idle:
        tried = ablated(formula, [*left_out, *each.parts], class_weights)
        if tried.candidate is not None or tried.verdict == "moves no weight":
            left_out += each.parts
            best = tried
    return best if best is not None and best.candidate is not None else None


def _idle(effects: Sequence[PartEffect], found: Sequence[Ablated]) -> list[Ablated]:
    """Parts without which the loss is nowhere worse, and that seeds enough were tried for, the least harmful first."""
    kept = []
    for each in found:
        left = None if each.formula is None else str(each.formula)
        own = [effect for effect in effects if (effect.part, effect.formula) == (each.text, left)]
        if own and all(effect.verdict in _IDLE for effect in own):
            kept.append((min(effect.difference or 0.0 for effect in own), each))
    return [each for _, each in sorted(kept, key=lambda pair: -pair[0])]


_IDLE = frozenset({"no difference shown", "better without", "moves no weight"})

_OF_LINE: dict[str, PartVerdict] = {
    "better": "better without",
    "worse": "matters",
    "no difference shown": "no difference shown",
    "too few seeds": "too few seeds",
}


def effect(each: Ablated, kind: PartKind, task: str, measure: str, line: Line | None, whole: Line | None) -> PartEffect:
    """What became of an ablation on a task: of its line beside the whole loss's, or what was known without one."""
    formula = None if each.formula is None else str(each.formula)
    known = PartEffect(task, measure, each.text, kind, formula, each.verdict, reason=each.reason)
    if line is None or whole is None:
        return known
    return replace(
        known,
        verdict=_OF_LINE.get(line.verdict, "failed"),
        seeds=line.seeds,
        whole=whole.mean,
        mean=line.mean,
        difference=line.difference,
        low=line.low,
        high=line.high,
        p_corrected=line.p_corrected,
        reason=line.reason or whole.reason,
    )
