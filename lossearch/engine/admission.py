"""Admission: a birth becomes a candidate worth training, or a record of why it is not.

In order: whether one that trains alike was seen before, screening, its canonical form.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from lossearch.evaluators.screening.screening import rejection, rejections
from lossearch.evaluators.work import Candidate, Work, record
from lossearch.evolution.population import Birth
from lossearch.primitives.identity.algebra import canonical
from lossearch.primitives.identity.fingerprint import Fingerprint, FingerprintArchive, fingerprints
from lossearch.primitives.language.formula import Formula
from lossearch.results.records import Evaluation, Status, loss_id

#: A formula and its class weights.
Loss = tuple[Formula, str | None]

#: Why screening rejects a loss, None where it does not, or the error that it raises.
Reason = tuple[str | Exception | None]

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Refusal:
    """A candidate that is not trained: ``status`` is rejected or duplicate."""

    candidate: Candidate
    status: Status
    reason: str

    def evaluation(self, work: Work) -> Evaluation:
        """The record of the refusal."""
        return record(self.candidate, work, status=self.status, reason=self.reason)


@dataclass
class Admission:
    """Decides about births.

    Invariant: every formula that has a gradient is in the archive, the rejected too; not one whose screening or
    canonical form raised an error.
    """

    archive: FingerprintArchive = field(default_factory=FingerprintArchive)
    births: int = 0  #: decided about so far

    def decide(self, birth: Birth, generation: int) -> Candidate | Refusal:
        """The candidate to train, or the refusal to record."""
        return self.screen([birth], generation)[0]

    def screen(self, births: Sequence[Birth], generation: int, wanted: int | None = None) -> list[Candidate | Refusal]:
        """The decisions about births, as if one were decided about after the other, in less time.

        With so many candidates ``wanted``, nothing is decided about births after the last of these. Most births are
        refused: what is cheap comes first, and the canonical form is sought of new ones alone.
        """
        born = [
            _candidate(birth, birth.formula, generation, self.births + number)
            for number, birth in enumerate(births, start=1)
        ]
        losses = [(birth.formula, each.class_weights) for birth, each in zip(births, born, strict=True)]
        seen = each_apart(lambda some: fingerprints(*_columns(some)), losses)
        reasons = self._screened(losses, seen)
        decisions: list[Candidate | Refusal] = []
        left = len(births) if wanted is None else wanted
        for place, (birth, candidate) in enumerate(zip(births, born, strict=True)):
            if not left:
                break
            try:
                decisions.append(self._decided(birth, candidate, _result(seen[place]), reasons.get(place)))
            except Exception as error:  # one formula does not end a search
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                decisions.append(Refusal(candidate, "rejected", reason))
            left -= isinstance(decisions[-1], Candidate)
        self.births += len(decisions)
        return decisions

    def _screened(self, losses: Sequence[Loss], seen: Sequence[Fingerprint | Exception | None]) -> dict[int, Reason]:
        """The screening, by place, of those that are neither in the archive nor come after one that trains alike."""
        new, among_these = [], FingerprintArchive()
        for place, each in enumerate(seen):
            if isinstance(each, tuple) and self.archive.find(each) is None and among_these.find(each) is None:
                among_these.add(each, "")
                new.append(place)
        found = each_apart(lambda some: rejections(*_columns(some)), [losses[place] for place in new])
        return {place: (reason,) for place, reason in zip(new, found, strict=True)}

    def _decided(
        self, birth: Birth, born: Candidate, seen: Fingerprint | None, screened: Reason | None
    ) -> Candidate | Refusal:
        """The decision; ``screened`` is None where one that trains alike came first."""
        if seen is None:
            return Refusal(born, "rejected", "flat or not finite: no gradient on the probe")
        twin = self.archive.find(seen)
        if twin is not None:
            return Refusal(replace(born, loss_id=twin), "duplicate", f"trains like {twin}, up to a positive factor")
        if screened is None:  # and that one has raised an error
            screened = (rejection(birth.formula, born.class_weights),)
        reason = _result(*screened)
        if reason is not None:
            self.archive.add(seen, born.loss_id)
            return Refusal(born, "rejected", reason)
        candidate = _candidate(birth, canonical(birth.formula), born.generation, born.birth_number)
        self.archive.add(seen, candidate.loss_id)
        return candidate


def _columns(losses: Sequence[Loss]) -> tuple[list[Formula], list[str | None]]:
    """Formulas, and their class weights."""
    return [formula for formula, _ in losses], [class_weights for _, class_weights in losses]


def _result(found: Found | Exception) -> Found:
    """What was found; raises the error that it is."""
    if isinstance(found, Exception):
        raise found
    return found


def _candidate(birth: Birth, formula: Formula, generation: int, number: int) -> Candidate:
    text = str(formula)
    class_weights = birth.class_weights if formula.looks_at_embeddings else None
    return Candidate(
        loss_id=loss_id(text, class_weights),
        formula=text,
        complexity=formula.size,
        generation=generation,
        birth=birth.birth,
        birth_number=number,
        parents=birth.parents,
        name=birth.name,
        class_weights=class_weights,
        island=birth.island,
    )


# --- Isolation: work on many items at once, in which one that fails harms no other.


def each_apart(work: Callable[[Sequence[Item]], Sequence[Found]], items: Sequence[Item]) -> list[Found | Exception]:
    """What the work finds for each item, or the error that the item alone raises.

    Where the work on many fails, it is done on their halves.
    """
    try:
        return list(work(items)) if items else []
    except Exception as error:
        if len(items) == 1:
            return [error]
    half = len(items) // 2
    return [*each_apart(work, items[:half]), *each_apart(work, items[half:])]
