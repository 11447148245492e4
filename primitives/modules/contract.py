"""The contract of a loss module: the inputs that it takes and refuses, and its reduction, as in CrossEntropyLoss.

Classes lie along dimension 1, and a value per sample keeps that dimension: [batch, 1, ...]. The functions need torch
and none of our modules: the exporter copies their source into the files that it writes.
"""

import math

import torch
from torch import Tensor


def require_logits(logits: Tensor) -> None:
    """Raise TypeError for anything but a tensor, ValueError unless it is floating-point [batch, classes, ...]."""
    require_tensor("logits", logits)
    if logits.ndim < 2:
        raise ValueError(f"Expected logits of shape [batch, classes, ...], got {list(logits.shape)}. Add a class axis.")
    if not logits.is_floating_point():
        raise ValueError(f"Expected floating-point logits, got {logits.dtype}. Convert them with .float().")


def require_embeddings(embeddings: Tensor, embedding_size: int) -> None:
    """Raise TypeError for anything but a tensor, ValueError unless it is floating-point [batch, embedding_size]."""
    require_tensor("embeddings", embeddings)
    if embeddings.ndim != 2 or embeddings.shape[1] != embedding_size:
        raise ValueError(
            f"Expected embeddings of shape [batch, {embedding_size}], got {list(embeddings.shape)}. "
            "Flatten them, or construct the loss with their embedding_size."
        )
    if not embeddings.is_floating_point():
        raise ValueError(f"Expected floating-point embeddings, got {embeddings.dtype}. Convert them with .float().")


def require_tensor(name: str, value: Tensor) -> None:
    """Raise TypeError for anything but a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"Expected {name} to be a tensor, got {type(value).__name__}. Wrap it in torch.as_tensor().")


def checked_target(target: Tensor, shape: list[int], ignore_index: int) -> Tensor:
    """Check a target against logits of this shape [batch, classes, ...]. Return it, class indices as int64.

    It holds probabilities of that shape, or class indices [batch, ...] from 0 to classes - 1 or ignore_index.
    Raises TypeError for anything but a tensor, ValueError where it does not fit. A compiled or exported graph raises
    RuntimeError for an index out of range. Where no graph can raise, ``without_ignored`` makes such a sample NaN.
    """
    require_tensor("the target", target)
    if target.is_floating_point():
        if list(target.shape) != shape:
            raise ValueError(
                f"Expected target probabilities of shape {shape}, got {list(target.shape)}. "
                "Class indices are integers: convert them with .long()."
            )
        if ignore_index >= 0:
            raise ValueError(
                f"Expected class indices beside ignore_index {ignore_index}, got probabilities, which have no class to "
                "ignore. Leave ignore_index out."
            )
        return target
    if target.dtype == torch.bool or target.is_complex():
        raise ValueError(f"Expected class indices or probabilities, got {target.dtype}. Convert them with .long().")
    if list(target.shape) != [shape[0], *shape[2:]]:
        raise ValueError(
            f"Expected class indices of shape {[shape[0], *shape[2:]]}, got {list(target.shape)}. Give one for each "
            "sample, without a class axis."
        )
    target = target.long()
    require_indices_in_range(target, shape[1], ignore_index)
    return target


def require_indices_in_range(target: Tensor, classes: int, ignore_index: int) -> None:
    """Raise ValueError for an index that is neither in 0 to classes - 1 nor ignore_index. A graph raises RuntimeError.

    Under vmap, and in eager mode on another device than the CPU, nothing is raised here. Versions of torch before 2.13
    may not compile a question whether they are under vmap: there it is not asked, and torch refuses vmap in a graph.
    """
    if torch.compiler.is_compiling():
        if torch.__version__ < "2.13" or not torch._C._functorch.is_batchedtensor(target):
            in_range = ~out_of_range(target, classes, ignore_index).any()
            torch._assert_async(in_range, "Expected class indices from 0 to classes - 1, or ignore_index.")
        return
    if not values_can_be_read(target):
        return
    wrong = out_of_range(target, classes, ignore_index)
    if wrong.any():
        raise ValueError(
            f"Expected class indices from 0 to {classes - 1}, or ignore_index {ignore_index}, got "
            f"{int(target[wrong][0])}. Number the classes from 0, or ignore such samples with ignore_index=..."
        )


def out_of_range(target: Tensor, classes: int, ignore_index: int) -> Tensor:
    """Return True for each index that is neither in 0 to classes - 1 nor ignore_index."""
    return (target != ignore_index) & ((target < 0) | (target >= classes))


def require_options(reduction: str, ignore_index: int, label_smoothing: float) -> None:
    """Raise ValueError for an option out of its range."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"Expected reduction to be mean, sum or none, got {reduction!r}. Give one of them.")
    if isinstance(ignore_index, bool) or not hasattr(ignore_index, "__index__") or abs(int(ignore_index)) >= 2**63:
        raise ValueError(f"Expected ignore_index to be a whole number of 64 bits, got {ignore_index!r}. Give a class.")
    number_between("label_smoothing", label_smoothing, 0.0, 1.0, hint=" Leave it out for none.")


def number_between(
    name: str,
    value: float,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    whole: bool = False,
    nonzero: bool = False,
    hint: str = "",
) -> float:
    """Return the value as a float. Raises ValueError unless it is finite, in [low, high], whole or not 0 if asked."""
    try:
        number = math.nan if isinstance(value, bool | str | Tensor) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or not low <= number <= high:
        expected = f"between {low:g} and {high:g}" if math.isfinite(high - low) else "to be a finite number"
        raise ValueError(f"Expected {name} {expected}, got {' '.join(repr(value).split()):.60}.{hint}")
    if whole and number != int(number):
        raise ValueError(f"Expected {name} to be a whole number, got {' '.join(repr(value).split()):.60}.{hint}")
    if nonzero and number == 0.0:
        raise ValueError(f"Expected {name} to be another number than 0, by which the loss divides, got {value!r:.60}.")
    return number


def count(name: str, value: int) -> int:
    """Return the value as an int. Raises ValueError unless it is a whole number above 0."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or not 1 <= value < 2**31:
        raise ValueError(f"Expected {name} to be a whole number above 0, got {' '.join(repr(value).split()):.60}.")
    return int(value)


def numbers_per_class(name: str, values: Tensor | list[float]) -> Tensor:
    """Return one finite number per class as a floating-point tensor [classes]. Raises ValueError for anything else."""
    try:
        numbers = torch.as_tensor(values).detach()
    except (TypeError, ValueError, RuntimeError):
        numbers = torch.empty(0, 0)
    if numbers.is_complex() or numbers.dtype == torch.bool or numbers.is_meta or numbers.layout != torch.strided:
        numbers = torch.empty(0, 0)
    numbers = numbers if numbers.is_floating_point() else numbers.to(torch.get_default_dtype())
    if numbers.ndim != 1 or not bool(torch.isfinite(numbers.float()).all()):  # the loss may compute in float32
        got = " ".join(repr(values).split())
        raise ValueError(f"Expected {name}, one finite number for each class [classes], got {got:.60}.")
    return numbers


def class_frequencies(prior: Tensor | list[float]) -> Tensor:
    """Return class frequencies [classes]. Raises ValueError unless each is above 0 and they sum to 1."""
    frequencies = numbers_per_class("prior", prior)
    if not bool((frequencies >= 0.0).all()) or abs(float(frequencies.sum()) - 1.0) > 1e-3:
        raise ValueError(
            f"Expected prior, class frequencies [classes] that sum to 1, none below 0, got {len(frequencies)} numbers "
            f"that sum to {float(frequencies.sum()):g}. Divide the numbers of samples by their sum."
        )
    empty = frequencies.float() == 0.0
    if bool(empty.any()):
        raise ValueError(
            f"Expected prior, class frequencies [classes] above 0, got 0 for class {int(empty.nonzero()[0])}. "
            "Leave classes without samples out, or count half a sample for each."
        )
    return frequencies


def require_one_per_class(name: str, values: Tensor | None, classes: int) -> None:
    """Raise ValueError where there are values, but not one for each class."""
    if values is not None and values.shape[0] != classes:
        raise ValueError(
            f"Expected {name} of shape [{classes}], one number for each class, got {list(values.shape)}. "
            f"Give {classes} numbers."
        )


def values_can_be_read(x: Tensor) -> bool:
    """Return True if a decision may depend on the values: on the CPU, and neither while compiling nor under vmap."""
    if torch.compiler.is_compiling() or x.device.type != "cpu":
        return False
    try:
        bool(x.any())
    except RuntimeError:  # vmap raises it where a decision depends on a value
        return False
    return True


def in_single_precision(x: Tensor) -> Tensor:
    """Convert half precision to float32. Every other dtype stays."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def without_autocast(x: Tensor) -> torch.autocast:
    """Return a context in which operators on x's device keep the dtypes of their arguments."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


def target_of(
    target: Tensor, shape: list[int], dtype: torch.dtype, ignore_index: int, label_smoothing: float
) -> tuple[Tensor | None, Tensor | None, Tensor]:
    """Return class indices [batch, 1, ...], target distribution [batch, classes, ...], and which samples count.

    The indices are None if the target holds probabilities, and 0 where a sample is ignored. The distribution is None if
    the indices say everything: for class indices without label smoothing.
    """
    if target.is_floating_point():
        y = smoothed(target.to(dtype), label_smoothing) if label_smoothing else target.to(dtype)
        return None, y, torch.ones_like(y[:, :1], dtype=torch.bool)
    index = target.unsqueeze(1)
    kept = index != ignore_index
    index = index.masked_fill(~kept, 0)
    if not label_smoothing:
        return index, None, kept
    return index, smoothed(one_hot(index, shape[1], dtype), label_smoothing), kept


def without_ignored(x: Tensor, target: Tensor, classes: int, ignore_index: int) -> Tensor:
    """Put zeros into x [batch, features, ...] in the place of ignored samples, which may hold anything.

    Where the range of indices could not be checked (in a graph, under vmap, on another device), a sample whose index is
    out of range gets NaN, so that no wrong value leaves in silence.
    """
    if target.is_floating_point():
        return x
    ignored = target == ignore_index
    if values_can_be_read(target):
        return x.masked_fill(ignored.unsqueeze(1), 0.0) if ignored.any() else x
    wrong = out_of_range(target, classes, ignore_index)
    filled = torch.zeros_like(wrong, dtype=x.dtype).masked_fill(wrong, math.nan)
    return torch.where((ignored | wrong).unsqueeze(1), filled.unsqueeze(1), x)


def one_hot(index: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Return the target distribution [batch, classes, ...] of class indices [batch, 1, ...]."""
    shape = [index.shape[0], classes, *index.shape[2:]]
    return torch.zeros(shape, dtype=dtype, device=index.device).scatter(1, index, 1.0)


def smoothed(target: Tensor, label_smoothing: float) -> Tensor:
    """Mix a target distribution with the uniform one."""
    return (1.0 - label_smoothing) * target + label_smoothing / target.shape[1]


def reweighted(weight: Tensor | None, y: Tensor) -> tuple[Tensor, Tensor | float]:
    """Weight a target distribution y [batch, classes, ...] by the weights of the classes [classes], if there are any.

    Returns the distribution w*y/sum(w*y), and the factor sum(w*y) of the sample's value [batch, 1, ...]. The rule holds
    for every loss, however its formula is written. For cross-entropy it is torch's: -sum(w*y*log(p)).
    """
    if weight is None:
        return y, 1.0
    weighted = per_class(weight, y) * y
    total = weighted.sum(1, keepdim=True)
    weightless = total == 0.0
    return torch.where(weightless, y, weighted / torch.where(weightless, 1.0, total)), total


def per_class(values: Tensor, like: Tensor) -> Tensor:
    """Reshape one number per class [classes] to [1, classes, 1, ...], with the axes of ``like``."""
    return values.to(like.dtype).reshape(1, -1, *[1] * (like.ndim - 2))


def samples_counted(kept: Tensor, weight: Tensor | None, index: Tensor | None) -> Tensor:
    """Return the divisor of a mean: the number of samples that count, or the sum of the weights of their classes."""
    return kept.sum() if weight is None or index is None else (weight[index] * kept).sum()


def reduced(value: Tensor, kept: Tensor, divisor: Tensor, reduction: str) -> Tensor:
    """Reduce the values [batch, 1, ...] of the samples that count: keep them, sum them, or divide the sum."""
    per_sample = torch.where(kept, value, 0.0).squeeze(1)
    if reduction == "none":
        return per_sample
    return per_sample.sum() if reduction == "sum" else per_sample.sum() / divisor
