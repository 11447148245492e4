"""The contract of a loss module: what it takes, what it refuses, and how it reduces, as in torch's CrossEntropyLoss.

Classes lie along dimension 1, and a value per sample keeps that dimension: [batch, 1, ...]. The functions need torch
alone and none of our modules: the exporter copies their source, as it stands, into the files it writes.
"""

import torch
from torch import Tensor


def require_logits(logits: Tensor) -> None:
    """Raise ValueError unless these are floating-point logits [batch, classes, ...]."""
    if logits.ndim < 2:
        raise ValueError(f"Expected logits of shape [batch, classes, ...], got {list(logits.shape)}. Add a class axis.")
    if not logits.is_floating_point():
        raise ValueError(f"Expected floating-point logits, got {logits.dtype}. Convert them with .float().")


def require_embeddings(embeddings: Tensor, embedding_size: int) -> None:
    """Raise ValueError unless these are floating-point embeddings [batch, embedding_size]."""
    if embeddings.ndim != 2 or embeddings.shape[1] != embedding_size:
        raise ValueError(
            f"Expected embeddings of shape [batch, {embedding_size}], got {list(embeddings.shape)}. "
            "Flatten them, or construct the loss with their embedding_size."
        )
    if not embeddings.is_floating_point():
        raise ValueError(f"Expected floating-point embeddings, got {embeddings.dtype}. Convert them with .float().")


def require_target(target: Tensor, shape: list[int], ignore_index: int) -> None:
    """Raise ValueError unless the target fits logits of this shape [batch, classes, ...].

    It holds probabilities of that shape, or class indices [batch, ...] from 0 to classes - 1, or ignore_index. The
    range is checked where it can be seen at once: on the CPU, and neither while compiling nor under vmap.
    """
    if target.is_floating_point():
        if list(target.shape) != list(shape):
            raise ValueError(
                f"Expected target probabilities of shape {list(shape)}, got {list(target.shape)}. "
                "Class indices are integers: convert them with .long()."
            )
        if ignore_index >= 0:
            raise ValueError(
                f"Expected class indices beside ignore_index {ignore_index}, got probabilities: no class of them can be "
                "ignored. Leave ignore_index out."
            )
        return
    if list(target.shape) != [shape[0], *shape[2:]]:
        raise ValueError(f"Expected class indices of shape {[shape[0], *shape[2:]]}, got {list(target.shape)}.")
    if not can_be_seen(target):
        return
    wrong = (target != ignore_index) & ((target < 0) | (target >= shape[1]))
    if wrong.any():
        raise ValueError(
            f"Expected class indices from 0 to {shape[1] - 1}, or ignore_index {ignore_index}, got "
            f"{int(target[wrong][0])}. Number the classes from 0, or ignore such samples with ignore_index=..."
        )


def require_one_per_class(name: str, values: Tensor | None, classes: int) -> None:
    """Raise ValueError unless there is one value for each class, where there are any."""
    if values is not None and values.shape[0] != classes:
        raise ValueError(f"Expected {name} of shape [{classes}], one number for each class, got {list(values.shape)}.")


def can_be_seen(x: Tensor) -> bool:
    """Whether a decision may depend on the values: on the CPU, and neither while compiling nor under vmap."""
    if torch.compiler.is_compiling() or x.device.type != "cpu":
        return False
    try:
        bool(x.any())
    except RuntimeError:  # what vmap raises where a decision depends on a value
        return False
    return True


def in_single_precision(x: Tensor) -> Tensor:
    """Half precision as float32; every other dtype as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def target_of(
    target: Tensor, shape: list[int], dtype: torch.dtype, ignore_index: int, label_smoothing: float
) -> tuple[Tensor | None, Tensor | None, Tensor]:
    """Class indices [batch, 1, ...], target distribution [batch, classes, ...], and which samples count.

    The indices are None where the target holds probabilities, and 0 where a sample is ignored. The distribution is
    None where the indices say all.
    """
    if target.is_floating_point():
        y = smoothed(target.to(dtype), label_smoothing) if label_smoothing else target.to(dtype)
        return None, y, torch.ones_like(y[:, :1], dtype=torch.bool)
    index = target.long().unsqueeze(1)
    kept = index != ignore_index
    index = index.masked_fill(~kept, 0)
    if not label_smoothing:
        return index, None, kept
    return index, smoothed(one_hot(index, shape[1], dtype), label_smoothing), kept


def without_ignored(x: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """x [batch, features, ...] with zeros in the place of ignored samples, which may hold anything.

    Not so in a compiled graph, where it would cost a pass over x: there they must be finite, as in torch's own losses.
    """
    if target.is_floating_point() or torch.compiler.is_compiling():
        return x
    ignored = target == ignore_index
    if can_be_seen(target) and not ignored.any():
        return x
    return x.masked_fill(ignored.unsqueeze(1), 0.0)


def one_hot(index: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Target distribution [batch, classes, ...] of class indices [batch, 1, ...]."""
    shape = [index.shape[0], classes, *index.shape[2:]]
    return torch.zeros(shape, dtype=dtype, device=index.device).scatter(1, index, 1.0)


def smoothed(target: Tensor, label_smoothing: float) -> Tensor:
    """A target distribution mixed with the uniform one."""
    return (1.0 - label_smoothing) * target + label_smoothing / target.shape[1]


def weight_of_samples(weight: Tensor, index: Tensor | None, y: Tensor | None) -> Tensor:
    """Weight of each sample [batch, 1, ...]: that of its target, from the class weights [classes]."""
    if y is not None:
        return (per_class(weight, y) * y).sum(1, keepdim=True)
    assert index is not None
    return weight[index]


def per_class(values: Tensor, like: Tensor) -> Tensor:
    """One number per class [classes], as [1, classes, 1, ...] beside ``like``."""
    return values.to(like.dtype).reshape(1, -1, *[1] * (like.ndim - 2))


def samples_counted(kept: Tensor, weight: Tensor | None, index: Tensor | None) -> Tensor:
    """What a mean divides by: the number of samples that count, or the class weights of their indices."""
    return kept.sum() if weight is None or index is None else (weight[index] * kept).sum()


def reduced(value: Tensor, kept: Tensor, divisor: Tensor, reduction: str) -> Tensor:
    """Values [batch, 1, ...] of the samples that count: each ("none"), their sum, or their sum over the divisor."""
    per_sample = torch.where(kept, value, 0.0).squeeze(1)
    if reduction == "none":
        return per_sample
    return per_sample.sum() if reduction == "sum" else per_sample.sum() / divisor
