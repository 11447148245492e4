"""Total torch functions: a finite input of ordinary size gives a finite value and a finite gradient.

Invariant: classes lie along dimension 1, and a reduction over classes keeps that dimension, so that every value
broadcasts against ``[batch, classes, ...]``. The functions need torch and none of our modules: the exporter copies
their source into the files that it writes.
"""

import torch
from torch import Tensor


def smallest_positive(x: Tensor) -> float:
    """Return the number below which log, sqrt, powers and division are constant: eps**2 of the dtype."""
    return torch.finfo(x.dtype).eps ** 2


def exp(x: Tensor) -> Tensor:
    """Compute e**x up to the square root of the dtype's largest number, so that a product of two is finite."""
    return torch.exp(x.clamp(max=354.0 if x.dtype == torch.float64 else 44.0))


def log(x: Tensor) -> Tensor:
    """Compute the natural logarithm; constant where x is not positive."""
    return torch.log(x.clamp(min=smallest_positive(x)))


def log10(x: Tensor) -> Tensor:
    """Compute the decimal logarithm; constant where x is not positive."""
    return torch.log10(x.clamp(min=smallest_positive(x)))


def sqrt(x: Tensor) -> Tensor:
    """Compute the square root; constant where x is not positive."""
    return torch.sqrt(x.clamp(min=smallest_positive(x)))


def divide(numerator: Tensor | float, denominator: Tensor) -> Tensor:
    """Divide. A denominator at zero is moved away from it, on its side, and the quotient is constant there."""
    floor = smallest_positive(denominator)
    at_zero = denominator.abs() < floor
    away = torch.where(denominator < 0, -floor, floor).to(denominator.dtype)
    quotient = numerator / torch.where(at_zero, away, denominator)
    return torch.where(at_zero, quotient.detach(), quotient)


def power(base: Tensor, exponent: Tensor | float) -> Tensor:
    """Compute base**exponent. A fractional or varying exponent takes the base to be positive."""
    if isinstance(exponent, Tensor) or exponent != int(exponent):
        return exp(exponent * log(base))
    whole = len(range(abs(int(exponent))))  # under torch.compile a number is a symbol; a range needs its value
    bound = torch.finfo(base.dtype).max ** (0.5 / max(whole, 1))
    result = torch.pow(base.clamp(-bound, bound), whole)
    return result if exponent >= 0 else divide(1.0, result)


def arccos(x: Tensor) -> Tensor:
    """Compute the inverse cosine in radians; constant beyond the last points where its slope is finite."""
    edge = 1.0 - 4.0 * torch.finfo(x.dtype).eps
    return torch.arccos(x.clamp(-edge, edge))


def minimum(x: Tensor, y: Tensor | float) -> Tensor:
    """Return the smaller of two. At a tie of two tensors each gets half the gradient."""
    return torch.minimum(x, y) if isinstance(y, Tensor) else x.clamp(max=y)


def maximum(x: Tensor, y: Tensor | float) -> Tensor:
    """Return the larger of two. At a tie of two tensors each gets half the gradient."""
    return torch.maximum(x, y) if isinstance(y, Tensor) else x.clamp(min=y)


def over_classes(x: Tensor | float, like: Tensor) -> Tensor:
    """Repeat a value that is the same for every class, once for each class of ``like`` [batch, classes, ...]."""
    return x + torch.zeros_like(like)


def scalar(number: float) -> Tensor:
    """Make a tensor without axes of a number. It takes the dtype and the device of what it is combined with."""
    return torch.tensor(number, dtype=torch.float64)


def sum_c(x: Tensor) -> Tensor:
    """Sum over the classes."""
    return x.sum(1, keepdim=True)


def mean_c(x: Tensor) -> Tensor:
    """Average over the classes."""
    return x.mean(1, keepdim=True)


def max_c(x: Tensor) -> Tensor:
    """Return the largest over the classes. Ties share the gradient."""
    return x.amax(1, keepdim=True)


def lse_c(x: Tensor) -> Tensor:
    """Compute the logarithm of the sum of exponentials over the classes."""
    return torch.logsumexp(x, 1, keepdim=True)


def softmax_c(x: Tensor) -> Tensor:
    """Compute the softmax over the classes."""
    return torch.softmax(x, 1)


def log_softmax_c(x: Tensor) -> Tensor:
    """Compute the logarithm of the softmax over the classes, finite for a logit of -inf: p*log(p) is 0 there."""
    return torch.log_softmax(x, 1).clamp(min=torch.finfo(x.dtype).min / 1024.0)


def at_target(x: Tensor, target: Tensor) -> Tensor:
    """Sum target * x over the classes of which the target holds something: elsewhere x may be infinite."""
    return torch.where(target == 0.0, 0.0, target * x).sum(1, keepdim=True)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Compute the cross-entropy of the logits against a target distribution over the classes."""
    log_probability = torch.log_softmax(logits, 1)
    return -at_target(log_probability, target)


def take_target(x: Tensor, index: Tensor) -> Tensor:
    """Take the value at the target class, whose ``index`` has shape [batch, 1, ...]."""
    return x.expand(index.shape[0], x.shape[1], *index.shape[2:]).gather(1, index)


def put_at_target(x: Tensor, index: Tensor, value: Tensor | float) -> Tensor:
    """Put another value into x at the target class, whose ``index`` has shape [batch, 1, ...]."""
    source = torch.as_tensor(value, dtype=x.dtype, device=x.device).expand(index.shape)
    return x.expand(index.shape[0], x.shape[1], *index.shape[2:]).scatter(1, index, source)


def add_at_target(x: Tensor, index: Tensor, margin: Tensor | float) -> Tensor:
    """Add a margin to x at the target class, whose ``index`` has shape [batch, 1, ...]."""
    x = x.expand(index.shape[0], x.shape[1], *index.shape[2:])
    margin = torch.as_tensor(margin, dtype=x.dtype, device=x.device)
    if torch.compiler.is_compiling():  # elementwise: a compiler fuses it
        classes = torch.arange(x.shape[1], device=x.device).reshape(1, -1, *[1] * (x.ndim - 2))
        return x + torch.where(classes == index, margin, 0.0)
    return x.scatter_add(1, index, margin.expand(index.shape))


def batch_mean(x: Tensor, counted: Tensor) -> Tensor:
    """Average over the samples that count: ``counted`` [batch, 1, ...] is 1 for them and 0 for ignored ones."""
    return torch.where(counted > 0, x, torch.zeros_like(counted)).sum() / counted.sum().clamp(min=1.0)


def log_one_minus_softmax(logits: Tensor) -> Tensor:
    """Compute log(1 - softmax(logits)). For the likeliest class: log-sum-exp of the others less that of all."""
    probability = torch.softmax(logits, 1)
    likeliest = logits.argmax(1, keepdim=True)
    is_likeliest = torch.zeros_like(logits, dtype=torch.bool).scatter(1, likeliest, True)
    lowest = torch.finfo(logits.dtype).min
    of_others = torch.logsumexp(logits.masked_fill(is_likeliest, lowest), 1, keepdim=True)
    exact = of_others - torch.logsumexp(logits, 1, keepdim=True)
    return torch.where(is_likeliest, exact, torch.log1p(-probability.masked_fill(is_likeliest, 0.0)))


def log_at_target(log_probability: Tensor, target: Tensor) -> Tensor:
    """Compute log(sum over the classes of target * probability) from the logarithm of the probability."""
    positive = target > 0
    log_target = torch.where(positive, torch.where(positive, target, 1.0).log(), -1e30)
    return torch.logsumexp(log_probability + log_target, 1, keepdim=True)


def unit_vectors(x: Tensor, dim: int = 1) -> Tensor:
    """Divide vectors along a dimension by their Euclidean norm. Zeros stay zero and have no gradient.

    A vector whose norm is beyond the dtype becomes NaN.
    """
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    norm = torch.where(norm == torch.inf, torch.nan, norm)
    return x / torch.where(norm <= smallest_positive(x), torch.inf, norm)


def cosine_similarity(embeddings: Tensor, weight: Tensor) -> Tensor:
    """Compute the cosine [batch, classes] between embeddings [batch, size] and class weights [classes, size].

    Where each class has several weights, [classes, sub_centers, size], the one with the largest cosine counts.
    """
    every = unit_vectors(embeddings) @ unit_vectors(weight.flatten(0, -2)).T
    return every if weight.ndim == 2 else every.reshape(-1, *weight.shape[:2]).amax(2)


def squared_distance(embeddings: Tensor, centers: Tensor) -> Tensor:
    """Compute the squared Euclidean distance [batch, classes] from each embedding to each class center.

    |x - c|^2 = |x|^2 + |c|^2 - 2 x·c loses digits far from the origin, so that the mean of the centers becomes the
    origin. A distance that rounding makes negative is 0 and keeps its gradient.
    """
    origin = centers.detach().mean(0)
    x, c = embeddings - origin, centers - origin
    distance = x.square().sum(1, keepdim=True) + c.square().sum(1) - 2.0 * x @ c.T
    return distance - distance.detach().clamp(max=0.0)


def squared_distance_at_target(embeddings: Tensor, centers: Tensor, index: Tensor) -> Tensor:
    """Compute the squared Euclidean distance [batch, 1] from each embedding to its target's center, exactly."""
    return (embeddings - centers[index.squeeze(1)]).square().sum(1, keepdim=True)


def embedding_norm(embeddings: Tensor) -> Tensor:
    """Compute the Euclidean norm [batch, 1] of each embedding."""
    return torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)


def class_weight_norm(weight: Tensor) -> Tensor:
    """Compute the Euclidean norm [1, classes] of each class weight."""
    return torch.linalg.vector_norm(weight, dim=1).unsqueeze(0)
