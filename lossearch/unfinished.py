"""Unfinished: what a search that keeps no generations had begun when it was stopped, from its records.

Invariant: a loss that was recorded is not born a second time, whether a checkpoint knows of it or not.
"""

from collections.abc import Iterable, Sequence

from lossearch.admission import Admission
from lossearch.breeding import TOGETHER
from lossearch.evaluators.work import Candidate, candidate_of
from lossearch.isolation import each_apart
from lossearch.primitives.identity.fingerprint import Fingerprint, fingerprints
from lossearch.primitives.language.parser import parse
from lossearch.results.records import Evaluation


def trained_in(evaluations: Iterable[Evaluation]) -> list[Candidate]:
    """The candidates that were trained, each once, in the order of recording."""
    return list(dict.fromkeys(candidate_of(each) for each in evaluations if each.seed is not None))


def remember(admission: Admission, since: Sequence[Evaluation], born: Sequence[Candidate]) -> None:
    """Let admission know of what was recorded since a checkpoint, among it the births of candidates."""
    admission.births = max([admission.births, *(each.birth_number for each in since)])
    new = [*born, *(candidate_of(each) for each in since if each.status == "rejected")]
    for start in range(0, len(new), TOGETHER):
        some = new[start : start + TOGETHER]
        for candidate, seen in zip(some, each_apart(_fingerprints, some), strict=True):
            if isinstance(seen, tuple) and admission.archive.find(seen) is None:
                admission.archive.add(seen, candidate.loss_id)


def _fingerprints(candidates: Sequence[Candidate]) -> list[Fingerprint | None]:
    return fingerprints([parse(each.formula) for each in candidates], [each.class_weights for each in candidates])
