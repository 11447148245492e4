"""Ablation: a loss without each of its parts in turn, and without all parts that were not shown to matter."""

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

#: Verdicts on parts that a simplified loss does without.
_IDLE = frozenset({"no difference shown", "better without", "moves no weight"})

#: Verdicts on a part by those of a comparison on the loss without it.
_OF_LINE: dict[str, PartVerdict] = {
    "better": "better without",
    "worse": "matters",
    "no difference shown": "no difference shown",
    "too few seeds": "too few seeds",
}


@dataclass(frozen=True)
class Ablation:
    """A loss without some of its parts.

    It has no candidate if it need not or cannot be trained. Then ``verdict`` and ``reason`` say what is known.
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
    """Return the candidate of a formula. Class weights count if it looks at embeddings."""
    kind = (class_weights or "learned") if formula.looks_at_embeddings else None
    text = str(formula)
    return Candidate(loss_id(text, kind), text, formula.size, 0, "known", 0, (), name, kind)


def ablations(formula: Formula, class_weights: str | None) -> list[Ablation]:
    """Leave out each part of the loss in turn."""
    return [ablate(formula, [part], class_weights) for part in parts_of(formula)]


def ablate(formula: Formula, parts: Sequence[Part], class_weights: str | None) -> Ablation:
    """Leave out these parts of the loss, and say what is known of the rest without training it."""
    rest = without(formula, parts)
    if rest is None:
        return Ablation(tuple(parts), None, None, reason="nothing is left")
    rest = canonical(rest)
    candidate = as_candidate(rest, class_weights)
    if candidate.class_weights is not None and not suits(candidate.class_weights, rest):
        return Ablation(tuple(parts), rest, None, reason=f"{candidate.class_weights} class weights do not suit it")
    if _train_alike(rest, formula, class_weights):
        return Ablation(tuple(parts), rest, None, "moves no weight")
    reason = rejection(rest, candidate.class_weights)
    return Ablation(tuple(parts), rest, candidate if reason is None else None, reason=reason)


def _train_alike(first: Formula, second: Formula, class_weights: str | None) -> bool:
    """Return True if both have the same gradient, up to a factor."""
    first_print, second_print = (fingerprint(formula, class_weights) for formula in (first, second))
    if first_print is None or second_print is None or first_print[0] != second_print[0]:
        return False
    return all(abs(a - b) <= RESOLUTION for a, b in zip(first_print[1:], second_print[1:], strict=True))


def simplify(
    formula: Formula, class_weights: str | None, effects: Sequence[PartEffect], ablated: Sequence[Ablation]
) -> Ablation | None:
    """Leave out all parts that were shown to matter on no task; None if that changes nothing that trains.

    Parts are left out from the least harmful on. A part stays if the screening rejects the rest without it.
    """
    left_out: list[Part] = []
    simplest: Ablation | None = None
    for idle in _find_idle_parts(effects, ablated):
        attempt = ablate(formula, [*left_out, *idle.parts], class_weights)
        if attempt.candidate is not None or attempt.verdict == "moves no weight":
            left_out += idle.parts
            simplest = attempt
    return simplest if simplest is not None and simplest.candidate is not None else None


def _find_idle_parts(effects: Sequence[PartEffect], ablated: Sequence[Ablation]) -> list[Ablation]:
    """Return parts whose loss without them is worse on no task under enough seeds, the least harmful first."""
    idle = []
    for ablation in ablated:
        rest = None if ablation.formula is None else str(ablation.formula)
        of_part = [effect for effect in effects if (effect.part, effect.formula) == (ablation.text, rest)]
        if of_part and all(effect.verdict in _IDLE for effect in of_part):
            idle.append((min(effect.difference or 0.0 for effect in of_part), ablation))
    return [ablation for _, ablation in sorted(idle, key=lambda pair: -pair[0])]


def part_effect(
    ablation: Ablation, kind: PartKind, task: str, measure: str, line: Line | None, whole: Line | None
) -> PartEffect:
    """Return the effect of an ablation on a task, from its line and the whole loss's; without lines, what is known."""
    formula = None if ablation.formula is None else str(ablation.formula)
    known = PartEffect(task, measure, ablation.text, kind, formula, ablation.verdict, reason=ablation.reason)
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
