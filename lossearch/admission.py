"""Admission: a birth becomes a candidate worth training, or a record of why it is not.

In order: whether one that trains alike was seen before, screening, its canonical form.
"""

from dataclasses import dataclass, field, replace

from evaluators.screening import rejection
from evaluators.work import Candidate, Work, record
from lossearch.evolution import Birth
from primitives.algebra import canonical
from primitives.fingerprint import FingerprintArchive, fingerprint
from primitives.formula import Formula
from results.records import Evaluation, Status, loss_id


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
    """Decides about births. Invariant: every formula that has a gradient is in the archive, the rejected too."""

    archive: FingerprintArchive = field(default_factory=FingerprintArchive)
    births: int = 0  #: decided about so far

    def decide(self, birth: Birth, generation: int) -> Candidate | Refusal:
        """The candidate to train, or the refusal to record."""
        self.births += 1
        candidate = _candidate(birth, birth.formula, generation, self.births)
        try:
            return self._decided(birth, candidate)
        except Exception as error:  # one formula does not end a search
            return Refusal(candidate, "rejected", f"{type(error).__name__}: {error}".splitlines()[0])

    def _decided(self, birth: Birth, born: Candidate) -> Candidate | Refusal:
        """Most births are refused: what is cheap comes first, and the canonical form is sought of new ones alone."""
        seen = fingerprint(birth.formula, born.class_weights)
        if seen is None:
            return Refusal(born, "rejected", "flat or not finite: no gradient on the probe")
        twin = self.archive.find(seen)
        if twin is not None:
            return Refusal(replace(born, loss_id=twin), "duplicate", f"trains like {twin}, up to a positive factor")
        reason = rejection(birth.formula, born.class_weights)
        if reason is not None:
            self.archive.add(seen, born.loss_id)
            return Refusal(born, "rejected", reason)
        candidate = _candidate(birth, canonical(birth.formula), born.generation, born.birth_number)
        self.archive.add(seen, candidate.loss_id)
        return candidate


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
    )
