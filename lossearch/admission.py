"""Admission: a birth becomes a candidate worth training, or a record of why it is not.

In order: its canonical form, whether one that trains alike was seen before, screening.
"""

from dataclasses import dataclass, field

from evaluators.evaluation import Candidate, Work, record
from evaluators.screening import rejection
from lossearch.evolution import Birth
from primitives.algebra import canonical
from primitives.fingerprint import FingerprintArchive, fingerprint
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
    """Decides about births. Invariant: every formula decided about is in the archive, the rejected too."""

    archive: FingerprintArchive = field(default_factory=FingerprintArchive)
    births: int = 0  #: decided about so far

    def decide(self, birth: Birth, generation: int) -> Candidate | Refusal:
        """The candidate to train, or the refusal to record."""
        self.births += 1
        formula = canonical(birth.formula)
        seen = fingerprint(formula)
        text = str(formula)
        twin = None if seen is None else self.archive.find(seen)
        candidate = Candidate(
            loss_id=twin or loss_id(text),
            formula=text,
            complexity=formula.size,
            generation=generation,
            birth=birth.birth,
            birth_number=self.births,
            parents=birth.parents,
            name=birth.name,
        )
        if twin is not None:
            return Refusal(candidate, "duplicate", f"trains like {twin}, up to a positive factor")
        if seen is None:
            return Refusal(candidate, "rejected", "flat or not finite: no gradient on the probe")
        self.archive.add(seen, candidate.loss_id)
        reason = rejection(formula)
        return candidate if reason is None else Refusal(candidate, "rejected", reason)
