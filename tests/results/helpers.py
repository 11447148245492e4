"""Evaluations for tests."""

from lossearch.results.records import Evaluation, digest, loss_id


def evaluation(formula="ce(z)", seed=0, fitness=0.9, **changes):
    values = {
        "evaluation_id": digest(formula, seed, sorted(changes)),
        "loss_id": loss_id(formula),
        "formula": formula,
        "complexity": 2,
        "task": "digits",
        "fidelity": "mlp64-10x64",
        "status": "evaluated",
        "generation": 0,
        "birth": "known",
        "birth_number": 1,
        "name": "cross_entropy" if formula == "ce(z)" else None,
        "seed": seed,
        "fitness": fitness,
        "calibration": 1.0,
        "seconds": 0.5,
        "finished_at": "2026-01-01T00:00:00+00:00",
    }
    return Evaluation(**{**values, **changes})


def refused(formula, status="rejected", reason="flat", **changes):
    return evaluation(formula, None, None, status=status, reason=reason, calibration=None, seconds=None, **changes)
