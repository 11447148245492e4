"""Total torch functions: a finite input of ordinary size gives a finite value and a finite gradient.

Invariant: classes lie along dimension 1, and a reduction over classes keeps that dimension, so that
every value broadcasts against ``[batch, classes, ...]``. The functions need torch alone and none of
our modules: the exporter copies their source, as it stands, into the files it writes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def smallest_positive(x: Tensor) -> float:
    """Where log, sqrt, powers and division stop: the square of the dtype's rounding step."""
    return torch.finfo(x.dtype).eps ** 2


def exp(x: Tensor) -> Tensor:
    """e**x up to the square root of the dtype's largest number, so that a product of two is finite."""
    return torch.exp(x.clamp(max=354.0 if x.dtype == torch.float64 else 44.0))


def log(x: Tensor) -> Tensor:
    """Natural logarithm; constant where x is not positive."""
    return torch.log(x.clamp(min=smallest_positive(x)))


def log10(x: Tensor) -> Tensor:
    """Decimal logarithm; constant where x is not positive."""
    return torch.log10(x.clamp(min=smallest_positive(x)))


def sqrt(x: Tensor) -> Tensor:
    """Square root; constant where x is not positive."""
    return torch.sqrt(x.clamp(min=smallest_positive(x)))


def divide(numerator: Tensor | float, denominator: Tensor) -> Tensor:
    """Quotient; a denominator at zero is moved away from it, keeping its sign."""
    floor = smallest_positive(denominator)
    away = torch.where(denominator < 0, -floor, floor).to(denominator.dtype)
    return numerator / torch.where(denominator.abs() < floor, away, denominator)


def power(base: Tensor, exponent: Tensor | float) -> Tensor:
    """base ** exponent; a fractional or varying exponent takes the base to be positive."""
    if isinstance(exponent, Tensor) or exponent != int(exponent):
        return exp(exponent * log(base))
    whole = abs(int(exponent))
    bound = torch.finfo(base.dtype).max ** (0.5 / max(whole, 1))
    result = torch.pow(base.clamp(-bound, bound), whole)
    return result if exponent >= 0 else divide(1.0, result)


def arccos(x: Tensor) -> Tensor:
    """Inverse cosine in radians; constant beyond the last points where its slope is finite."""
    edge = 1.0 - 4.0 * torch.finfo(x.dtype).eps
    return torch.arccos(x.clamp(-edge, edge))


def minimum(x: Tensor, y: Tensor | float) -> Tensor:
    """The smaller of two; at a tie of two tensors each gets half the gradient."""
    return torch.minimum(x, y) if isinstance(y, Tensor) else x.clamp(max=y)


def maximum(x: Tensor, y: Tensor | float) -> Tensor:
    """The larger of two; at a tie of two tensors each gets half the gradient."""
    return torch.maximum(x, y) if isinstance(y, Tensor) else x.clamp(min=y)


def over_classes(x: Tensor | float, like: Tensor) -> Tensor:
    """A value that is the same for every class, given once for each class of ``like``."""
    return x + torch.zeros_like(like)


def sum_c(x: Tensor) -> Tensor:
    """Sum over the classes."""
    return x.sum(1, keepdim=True)


def mean_c(x: Tensor) -> Tensor:
    """Mean over the classes."""
    return x.mean(1, keepdim=True)


def max_c(x: Tensor) -> Tensor:
    """Largest over the classes; ties share the gradient."""
    return x.amax(1, keepdim=True)


def lse_c(x: Tensor) -> Tensor:
    """Logarithm of the sum of exponentials over the classes."""
    return torch.logsumexp(x, 1, keepdim=True)


def softmax_c(x: Tensor) -> Tensor:
    """Softmax over the classes."""
    return torch.softmax(x, 1)


def log_softmax_c(x: Tensor) -> Tensor:
    """Logarithm of the softmax over the classes."""
    return torch.log_softmax(x, 1)


def at_target(x: Tensor, target: Tensor) -> Tensor:
    """Sum over the classes of target * x."""
    return (target * x).sum(1, keepdim=True)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the logits against a target distribution over the classes."""
    return -(target * torch.log_softmax(logits, 1)).sum(1, keepdim=True)


def batch_mean(x: Tensor, counted: Tensor) -> Tensor:
    """Mean over the samples that count (1 in ``counted``, shape [batch, 1, ...]; ignored ones are 0)."""
    return (x * counted).sum() / counted.sum().clamp(min=1.0)


def log_one_minus_softmax(logits: Tensor) -> Tensor:
    """log(1 - softmax(logits)): for the likeliest class, the log-sum-exp of the others against all."""
    probability = torch.softmax(logits, 1)
    likeliest = logits.argmax(1, keepdim=True)
    is_likeliest = torch.zeros_like(logits, dtype=torch.bool).scatter(1, likeliest, True)
    lowest = torch.finfo(logits.dtype).min
    of_others = torch.logsumexp(logits.masked_fill(is_likeliest, lowest), 1, keepdim=True)
    exact = of_others - torch.logsumexp(logits, 1, keepdim=True)
    return torch.where(is_likeliest, exact, torch.log1p(-probability.masked_fill(is_likeliest, 0.0)))


def log_at_target(log_probability: Tensor, target: Tensor) -> Tensor:
    """log(sum over the classes of target * probability), from the logarithm of the probability."""
    return torch.logsumexp(log_probability + torch.log(target).clamp(min=-1e30), 1, keepdim=True)


def cosine_similarity(embeddings: Tensor, weight: Tensor) -> Tensor:
    """Cosine of the angle between each embedding [batch, size] and each class weight [classes, size]."""
    return F.normalize(embeddings, dim=1) @ F.normalize(weight, dim=1).T


def squared_distance(embeddings: Tensor, centers: Tensor) -> Tensor:
    """Squared Euclidean distance [batch, classes] from each embedding to each class center."""
    inner = embeddings @ centers.T
    return (embeddings.square().sum(1, keepdim=True) + centers.square().sum(1) - 2.0 * inner).clamp(min=0.0)


def embedding_norm(embeddings: Tensor) -> Tensor:
    """Euclidean norm of each embedding, [batch, 1]."""
    return torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)


def class_weight_norm(weight: Tensor) -> Tensor:
    """Euclidean norm of each class weight, [1, classes]."""
    return torch.linalg.vector_norm(weight, dim=1).unsqueeze(0)


def class_prior(prior: Tensor, like: Tensor) -> Tensor:
    """Relative class frequencies [classes], as [1, classes, 1, ...] beside ``like``."""
    return prior.reshape(1, -1, *[1] * (like.ndim - 2))
