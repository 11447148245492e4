"""Measure the speed of loss modules, forward and backward, beside what a user would use instead.

Ratios below 1 are faster. They are ratios of medians, taken in turns in one run: cross-entropy against torch's, the
margin losses against pytorch-metric-learning's, NGL against its authors' expression in plain torch, and each again
under torch.compile against the same thing compiled. Without pytorch-metric-learning its part is left out.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lossearch

Step = Callable[[], Any]


class AuthorsNGL(nn.Module):
    """NGL as its authors write it, exp(2.4092 - p - p y) - cos(cos(sin p)), on class indices."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        p = torch.softmax(logits, 1)
        y = F.one_hot(target, logits.shape[1]).to(p.dtype)
        return (torch.exp(2.4092 - p - p * y) - torch.cos(torch.cos(torch.sin(p)))).mean()


class PlainMargin(nn.Module):
    """am_softmax or arcface as a user would write it by hand for torch.compile."""

    def __init__(self, num_classes: int, embedding_size: int, arc: bool) -> None:
        super().__init__()
        self.weight, self.arc = nn.Parameter(torch.randn(num_classes, embedding_size)), arc

    def forward(self, embeddings: Tensor, target: Tensor) -> Tensor:
        cosine = F.normalize(embeddings) @ F.normalize(self.weight).T
        y = F.one_hot(target, cosine.shape[1]).to(cosine.dtype)
        logits = torch.cos(torch.arccos(cosine.clamp(-1 + 1e-6, 1 - 1e-6)) + 0.5 * y) if self.arc else cosine - 0.35 * y
        return F.cross_entropy(30.0 * logits, target)


def step_of(loss: Any, inputs: Tensor, target: Tensor) -> Step:
    inputs = inputs.clone().requires_grad_()

    def step() -> None:
        inputs.grad = None
        loss.zero_grad(set_to_none=True)
        loss(inputs, target).backward()
        if inputs.is_cuda:
            torch.cuda.synchronize()

    return step


def ratio(ours: Step, theirs: Step, rounds: int) -> float:
    """Divide the median time of ours by that of theirs, taken in turns."""
    for _ in range(3):
        ours(), theirs()
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            started = time.perf_counter()
            (ours, theirs)[which]()
            times[which].append(time.perf_counter() - started)
    return round(statistics.median(times[0]) / statistics.median(times[1]), 3)


def pairs(device: str) -> Iterator[tuple[str, nn.Module, nn.Module, Tensor, Tensor, bool]]:
    """Yield name, our loss, theirs, inputs, target, and True if theirs is also compared under torch.compile."""
    generator = torch.Generator().manual_seed(0)

    def batch(samples: int, width: int, classes: int) -> tuple[Tensor, Tensor]:
        target = torch.randint(0, classes, (samples,), generator=generator)
        return torch.randn(samples, width, generator=generator).to(device), target.to(device)

    logits, target = batch(4096, 1000, 1000)
    yield "ce_to_torch_4096x1000", lossearch.loss("ce(z)"), nn.CrossEntropyLoss(), logits, target, True
    yield "ngl_to_authors_expression_4096x1000", lossearch.loss("ngl"), AuthorsNGL(), logits, target, True
    for samples, size, classes in ((256, 512, 1000), (4096, 128, 1000)):
        embeddings, target = batch(samples, size, classes)
        label = f"{samples}x{size}x{classes}"
        for name in ("am_softmax", "arcface"):
            same = {"arcface": "arcface_monotone"}.get(name, name)  # pytorch-metric-learning's is the monotone one
            theirs = metric_learning(name, classes, size)
            if theirs is not None:
                ours = lossearch.loss(same, num_classes=classes, embedding_size=size)
                yield f"{same}_to_pytorch_metric_learning_{label}", ours, theirs, embeddings, target, False
            ours = lossearch.loss(name, num_classes=classes, embedding_size=size)
            plain = PlainMargin(classes, size, name == "arcface")
            yield f"{name}_to_plain_torch_{label}", ours, plain, embeddings, target, True


def metric_learning(name: str, classes: int, size: int) -> nn.Module | None:
    try:
        from pytorch_metric_learning import losses
    except ImportError:
        return None
    if name == "am_softmax":
        return losses.CosFaceLoss(classes, size, margin=0.35, scale=30)
    return losses.ArcFaceLoss(classes, size, margin=28.65, scale=30)


def compiled(loss: nn.Module) -> Any:
    return torch.compile(loss, fullgraph=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--no-compile", action="store_true", help="leave the compiled modules out")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    figures: dict[str, Any] = {"device": device, "threads": torch.get_num_threads(), "torch": torch.__version__}
    for name, ours, theirs, inputs, target, by_hand in pairs(device):
        ours, theirs = ours.to(device), theirs.to(device)
        figures[f"{name}_ratio"] = ratio(step_of(ours, inputs, target), step_of(theirs, inputs, target), options.rounds)
        if by_hand and not options.no_compile:
            figures[f"{name}_compiled_ratio"] = ratio(
                step_of(compiled(ours), inputs, target), step_of(compiled(theirs), inputs, target), options.rounds
            )
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
