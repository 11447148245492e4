"""Check an exported loss: load its file, compare it with the formula, and train with it under fresh seeds.

The seeds are fresh, so the luck of the seeds that chose the loss is gone. The validation split is the one that chose
the loss, so its fitness is still flattered. The test split is not touched.
"""

from collections.abc import Mapping
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import nn

from lossearch.evaluators.device import choose_device, one_thread
from lossearch.evaluators.training.outcome import TrainingFailed
from lossearch.evaluators.training.start import class_frequencies
from lossearch.evaluators.training.training import train_and_score
from lossearch.evaluators.work import Work, training_seed
from lossearch.primitives.errors import LossearchError
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.language.parser import parse
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, loss_module
from lossearch.results.export.exportable import of_row
from lossearch.results.ranking.row import Row
from lossearch.results.statistics.intervals import mean, spread
from lossearch.results.storage.fresh_seed_test import FreshSeedTest
from lossearch.runs import seed_ranges
from lossearch.runs.experiment import Experiment

#: Number of fresh seeds.
FRESH_SEEDS = 6


class ExportMismatch(LossearchError):
    """Raised for an exported file that does not compute what its formula says."""


def check_export(path: Path, row: Row, experiment: Experiment, factors: Mapping[str, float]) -> FreshSeedTest:
    """Load an exported file that this process wrote, compare it with the formula, and train with it under fresh seeds.

    On one task the file holds the calibration factor. On several tasks the loss is multiplied by the factor of each,
    from ``factors``, and the fitness is the mean over the tasks. Raises ExportMismatch if the value or the gradient
    differs from the formula's.
    """
    module = load_exported(path)
    loss = of_row(row, "")  # a known loss under its own numbers, which a canonical form has rounded to ten digits
    require_equal(module, loss.formula.bind(loss.hyperparameters), row.class_weights)
    works = [_make_work(task, experiment) for task in experiment.tasks]
    scales = [factors.get(work.task, 1.0) if len(works) > 1 else 1.0 for work in works]
    first_seed = seed_ranges.FRESH_SEED_TEST
    ours, theirs = [], []
    try:
        with one_thread():
            for seed in range(first_seed, first_seed + FRESH_SEEDS):
                ours.append(
                    mean(
                        _train_and_score(_build_exported_loss(module, row, work), work, seed, scale)
                        for work, scale in zip(works, scales, strict=True)
                    )
                )
                theirs.append(mean(_train_and_score(nn.CrossEntropyLoss(), work, seed) for work in works))
    except TrainingFailed:
        return FreshSeedTest(None, None, None, None, len(theirs))
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    return FreshSeedTest(mean(ours), mean(theirs), mean(differences), spread(differences), FRESH_SEEDS)


class _SourceAlone(SourceFileLoader):
    """Loads a module from its source. Compiled code beside it is neither read nor written.

    Python would run it in the place of the source, and in a run from elsewhere it may be anything.
    """

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def load_exported(path: Path) -> Any:
    """Load the module of an exported file. The file is executed, so it must be one that this process wrote."""
    spec = spec_from_loader("exported_loss", _SourceAlone("exported_loss", str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def require_equal(module: Any, formula: Formula, class_weights: str | None = None) -> None:
    """Raise ExportMismatch unless the file's loss has the formula's value and gradient on a random batch.

    Targets are class indices and class probabilities. For a loss over embeddings the logits are compared as well.
    """
    generator = torch.Generator().manual_seed(0)
    classes, size = 7, 5
    prior = torch.arange(1.0, classes + 1.0) / sum(range(classes + 1))
    options: dict[str, Any] = {}
    if formula.looks_at_embeddings:
        options = {"generator": generator, "class_weights": class_weights or "learned"}
    reference = loss_module(formula, num_classes=classes, embedding_size=size, prior=prior, **options).double()
    arguments = (classes, size) if formula.looks_at_embeddings else ()
    plain = {"calibrated": False} if hasattr(module.Loss, "calibration") else {}
    exported = module.Loss(*arguments, **_make_prior(formula, prior), **plain).double()
    exported.load_state_dict(reference.state_dict(), strict=False)
    for loss in (reference, exported):
        if hasattr(loss, "set_progress"):
            loss.set_progress(0.37)
    width = size if isinstance(reference, EmbeddingLoss) else classes
    inputs = 2.0 * torch.randn(9, width, generator=generator, dtype=torch.float64)
    for target in _draw_targets(classes, generator):
        _require_equal_response(
            _compute_response(reference, inputs, target), _compute_response(exported, inputs, target), formula
        )


def _draw_targets(classes: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw targets of nine samples: class indices [9] and class probabilities [9, classes]."""
    indices = torch.randint(0, classes, (9,), generator=generator)
    return indices, torch.softmax(torch.randn(9, classes, generator=generator, dtype=torch.float64), 1)


def _require_equal_response(
    expected: dict[str, torch.Tensor], actual: dict[str, torch.Tensor], formula: Formula
) -> None:
    for name, value in expected.items():
        if not torch.allclose(value, actual[name], rtol=1e-9, atol=1e-12):
            raise ExportMismatch(f"The exported loss and its formula {formula} differ in {name}. Please report it.")


def _make_prior(formula: Formula, prior: torch.Tensor) -> dict[str, Any]:
    """Return the keyword argument ``prior`` if the formula needs it."""
    return {"prior": prior} if "prior" in formula.names else {}


def _compute_response(loss: Any, inputs: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """Compute the loss's value, its gradient, and its logits if it has some, on a batch."""
    inputs = inputs.clone().requires_grad_()
    value = loss(inputs, target)
    (gradient,) = torch.autograd.grad(value, inputs)
    response = {"value": value.detach(), "gradient": gradient}
    if hasattr(loss, "get_logits"):
        response["logits"] = loss.get_logits(inputs).detach()
    return response


def _make_work(task: str, experiment: Experiment) -> Work:
    device = "cpu" if experiment.executor.device == "cpu" else "auto"  # the driver may have no GPU
    return replace(experiment.work(task), device=device)


def _build_exported_loss(module: Any, row: Row, work: Work) -> nn.Module:
    formula = parse(row.formula)
    sizes = (work.get_task().classes, work.fidelity.hidden) if formula.looks_at_embeddings else ()
    options = _make_prior(formula, class_frequencies(work.get_task()))
    if row.class_weights == "pedcc":
        options["fine_tune_from"] = work.fidelity.fine_tune_from
    loss: nn.Module = module.Loss(*sizes, **options)
    return loss


def _train_and_score(loss: nn.Module, work: Work, seed: int, scale: float = 1.0) -> float:
    device = choose_device(work.device)
    return train_and_score(loss, work.get_task(), work.fidelity, training_seed(work, seed), scale, device)
