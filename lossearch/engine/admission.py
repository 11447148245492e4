"""Admission: turn each birth into a candidate that is worth training, or into the record of a refusal.

Each birth passes three steps, the cheapest first: compare its fingerprint with all that came before, screen it, and
find its canonical form.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from lossearch.evaluators.screening.screening import rejection, rejections
from lossearch.evaluators.work import Candidate, Work, candidate_of, record
from lossearch.evolution.population import Birth
from lossearch.primitives.identity.algebra import canonical
from lossearch.primitives.identity.fingerprint import Fingerprint, FingerprintArchive, fingerprints
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.language.parser import parse
from lossearch.results.records import Evaluation, Status, loss_id

#: Largest number of births to decide about at once. A batch takes little longer than a single birth.
MAX_BATCH = 256

#: A formula and its class weights.
Loss = tuple[Formula, str | None]

#: The outcome of screening: the reason for a rejection, None if it passed, or the error that was raised.
Screening = tuple[str | Exception | None]

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Refusal:
    """A candidate that is not trained: ``status`` is rejected or duplicate."""

    candidate: Candidate
    status: Status
    reason: str

    def evaluation(self, work: Work) -> Evaluation:
        """Create the record of the refusal."""
        return record(self.candidate, work, status=self.status, reason=self.reason)


@dataclass
class Admission:
    """Decide which births to train.

    Invariant: the archive holds every formula that has a gradient, including the rejected ones. It does not hold a
    formula whose screening or canonical form raised an error.
    """

    archive: FingerprintArchive = field(default_factory=FingerprintArchive)
    births: int = 0  #: decided about so far

    def decide(self, birth: Birth, generation: int) -> Candidate | Refusal:
        """Return the candidate to train, or the refusal to record."""
        return self.screen([birth], generation)[0]

    def screen(self, births: Sequence[Birth], generation: int, wanted: int | None = None) -> list[Candidate | Refusal]:
        """Decide about births in one batch. The decisions equal those about one birth after the other.

        Stop after ``wanted`` candidates; the births that are left get no decision. Most births are refused, so
        fingerprints and screening come first, and only new formulas are brought to their canonical form.
        """
        candidates = [
            _make_candidate(birth, birth.formula, generation, self.births + number)
            for number, birth in enumerate(births, start=1)
        ]
        losses = [(birth.formula, candidate.class_weights) for birth, candidate in zip(births, candidates, strict=True)]
        prints = map_isolated(_compute_fingerprints, losses)
        screenings = self._screen_new(losses, prints)
        decisions: list[Candidate | Refusal] = []
        num_left = len(births) if wanted is None else wanted
        for index, (birth, candidate) in enumerate(zip(births, candidates, strict=True)):
            if not num_left:
                break
            try:
                decisions.append(self._decide(birth, candidate, _get_value(prints[index]), screenings.get(index)))
            except Exception as error:  # one formula must not end a search
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                decisions.append(Refusal(candidate, "rejected", reason))
            num_left -= isinstance(decisions[-1], Candidate)
        self.births += len(decisions)
        return decisions

    def remember(self, evaluations: Sequence[Evaluation], trained: Sequence[Candidate]) -> None:
        """Take in what was recorded since a checkpoint: all evaluations, and the candidates among them that trained.

        So no recorded loss is born a second time, even if no checkpoint knows of it.
        """
        self.births = max([self.births, *(evaluation.birth_number for evaluation in evaluations)])
        rejected = [candidate_of(evaluation) for evaluation in evaluations if evaluation.status == "rejected"]
        candidates = [*trained, *rejected]
        for start in range(0, len(candidates), MAX_BATCH):
            batch = candidates[start : start + MAX_BATCH]
            for candidate, fingerprint in zip(batch, map_isolated(_parse_and_fingerprint, batch), strict=True):
                if isinstance(fingerprint, tuple) and self.archive.find(fingerprint) is None:
                    self.archive.add(fingerprint, candidate.loss_id)

    def _screen_new(
        self, losses: Sequence[Loss], prints: Sequence[Fingerprint | Exception | None]
    ) -> dict[int, Screening]:
        """Screen the losses whose fingerprint is new to the archive and to this batch. Return outcomes by index."""
        indices, batch_archive = [], FingerprintArchive()
        for index, fingerprint in enumerate(prints):
            if not isinstance(fingerprint, tuple):
                continue
            if self.archive.find(fingerprint) is None and batch_archive.find(fingerprint) is None:
                batch_archive.add(fingerprint, "")
                indices.append(index)
        outcomes = map_isolated(lambda batch: rejections(*_split_columns(batch)), [losses[index] for index in indices])
        return {index: (outcome,) for index, outcome in zip(indices, outcomes, strict=True)}

    def _decide(
        self, birth: Birth, candidate: Candidate, fingerprint: Fingerprint | None, screening: Screening | None
    ) -> Candidate | Refusal:
        """Decide about one birth; ``screening`` is None if an earlier formula of the batch has its fingerprint."""
        if fingerprint is None:
            return Refusal(candidate, "rejected", "flat or not finite: no gradient on the probe")
        twin = self.archive.find(fingerprint)
        if twin is not None:
            return Refusal(
                replace(candidate, loss_id=twin), "duplicate", f"trains like {twin}, up to a positive factor"
            )
        if screening is None:  # the earlier formula raised an error, so the archive does not hold it
            screening = (rejection(birth.formula, candidate.class_weights),)
        rejected_for = _get_value(*screening)
        if rejected_for is not None:
            self.archive.add(fingerprint, candidate.loss_id)
            return Refusal(candidate, "rejected", rejected_for)
        admitted = _make_candidate(birth, canonical(birth.formula), candidate.generation, candidate.birth_number)
        self.archive.add(fingerprint, admitted.loss_id)
        return admitted


def map_isolated(
    function: Callable[[Sequence[Item]], Sequence[Value]], items: Sequence[Item]
) -> list[Value | Exception]:
    """Apply a function to many items at once. Return a value for each item, or the error that this item alone raises.

    Where the function fails on many items, it is applied to their halves.
    """
    try:
        return list(function(items)) if items else []
    except Exception as error:
        if len(items) == 1:
            return [error]
    half = len(items) // 2
    return [*map_isolated(function, items[:half]), *map_isolated(function, items[half:])]


def _compute_fingerprints(losses: Sequence[Loss]) -> list[Fingerprint | None]:
    return fingerprints(*_split_columns(losses))


def _parse_and_fingerprint(candidates: Sequence[Candidate]) -> list[Fingerprint | None]:
    return _compute_fingerprints([(parse(candidate.formula), candidate.class_weights) for candidate in candidates])


def _split_columns(losses: Sequence[Loss]) -> tuple[list[Formula], list[str | None]]:
    """Split losses into formulas and class weights."""
    return [formula for formula, _ in losses], [class_weights for _, class_weights in losses]


def _get_value(result: Value | Exception) -> Value:
    """Return the value, or raise the error that stands in its place."""
    if isinstance(result, Exception):
        raise result
    return result


def _make_candidate(birth: Birth, formula: Formula, generation: int, number: int) -> Candidate:
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
