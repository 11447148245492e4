"""Known losses from their papers in float64 NumPy, one sample at a time: the oracle that the catalog is tested against.

Each takes logits or embeddings [batch, ...] and class indices `target` [batch], and gives the loss per sample [batch].
In the comments t is the target class, C the number of classes, z the logits, p = softmax(z), y the one-hot target and
c_j the cosine between an embedding and the weight of class j. `at` is the (embeddings, weight) at which factors that
the paper holds constant for the gradient are taken.
"""

import math

import numpy as np


def log_softmax(z):
    top = max(z)
    return z - top - math.log(sum(math.exp(logit - top) for logit in z))


def softmax(z):
    return np.exp(log_softmax(z))


def one_hot(t, classes):
    return np.array([1.0 if j == t else 0.0 for j in range(classes)])


def cross_entropy(scores, t):
    return -log_softmax(np.array(scores))[t]


def others(t, classes):
    return [j for j in range(classes) if j != t]


def cosine(x, w):
    return np.dot(x, w) / math.sqrt(np.dot(x, x) * np.dot(w, w))


def cosines(x, weight):
    return [cosine(x, w) for w in weight]


def kl_divergence(logits, target):
    # sum_j y_j log(y_j / p_j) with 0 log 0 := 0
    return np.array([1.0 * (math.log(1.0) - log_softmax(z)[t]) for z, t in zip(logits, target, strict=True)])


def rmse(logits, target):
    # sqrt(1/C sum_j (p_j - y_j)^2)
    losses = []
    for z, t in zip(logits, target, strict=True):
        p, y = softmax(z), one_hot(t, len(z))
        losses.append(math.sqrt(sum((p[j] - y[j]) ** 2 for j in range(len(z))) / len(z)))
    return np.array(losses)


def sum_squared_error(logits, target):
    # sum_j (p_j - y_j)^2
    losses = []
    for z, t in zip(logits, target, strict=True):
        p, y = softmax(z), one_hot(t, len(z))
        losses.append(sum((p[j] - y[j]) ** 2 for j in range(len(z))))
    return np.array(losses)


def baikal(logits, target):
    # sum_j (-log p_j + y_j / p_j), Gonzalez & Miikkulainen 2020, summed over the classes
    losses = []
    for z, t in zip(logits, target, strict=True):
        log_p, p, y = log_softmax(z), softmax(z), one_hot(t, len(z))
        losses.append(sum(-log_p[j] + y[j] / p[j] for j in range(len(z))))
    return np.array(losses)


def taylor_glo(logits, target, t0=0.0, t1=0.0, t2=0.0, t3=-2.0, t4=0.0, t5=2.0, t6=0.0, t7=0.0):
    # -1/C sum_j [t2 a + t3 a^2/2 + t4 a^3/6 + t5 b a + t6 b a^2/2 + t7 b^2 a/2], a = p_j - t1, b = y_j - t0
    # Gonzalez & Miikkulainen 2021
    losses = []
    for z, t in zip(logits, target, strict=True):
        total = 0.0
        for a, b in zip(softmax(z) - t1, one_hot(t, len(z)) - t0, strict=True):
            total += t2 * a + t3 * a**2 / 2 + t4 * a**3 / 6 + t5 * b * a + t6 * b * a**2 / 2 + t7 * b**2 * a / 2
        losses.append(-total / len(z))
    return np.array(losses)


def maximum_entropy(logits, target, lam=0.1):
    # -log p_t - lam H(p), H(p) = -sum_j p_j log p_j, Dubey et al. 2018
    losses = []
    for z, t in zip(logits, target, strict=True):
        entropy = -sum(math.exp(log_p) * log_p for log_p in log_softmax(z))
        losses.append(cross_entropy(z, t) - lam * entropy)
    return np.array(losses)


def large_margin_cross_entropy(logits, target, lam=0.3):
    # -log p_t + lam/2 sum_{j != t} (q_j - 1/(C-1)) log q_j, q the softmax over the classes but t, Kobayashi 2019
    losses = []
    for z, t in zip(logits, target, strict=True):
        log_q = log_softmax(z[others(t, len(z))])
        margin = sum((math.exp(log) - 1 / (len(z) - 1)) * log for log in log_q)
        losses.append(cross_entropy(z, t) + lam / 2 * margin)
    return np.array(losses)


def reverse_cross_entropy(logits, target, log_zero=-4.0):
    # -sum_j p_j log y_j with log 0 := log_zero, Wang et al. 2019
    losses = []
    for z, t in zip(logits, target, strict=True):
        p = softmax(z)
        losses.append(-sum(p[j] * (math.log(1.0) if j == t else log_zero) for j in range(len(z))))
    return np.array(losses)


def normalized_cross_entropy(logits, target):
    # log p_t / sum_j log p_j, Ma et al. 2020
    return np.array([log_softmax(z)[t] / sum(log_softmax(z)) for z, t in zip(logits, target, strict=True)])


def ramp(logits, target, m=1.0, cap=1.0):
    # min(cap, 1/C sum_{j != t} max(0, m - z_t + z_j))
    losses = []
    for z, t in zip(logits, target, strict=True):
        hinge = sum(max(0.0, m - z[t] + z[j]) for j in others(t, len(z))) / len(z)
        losses.append(min(cap, hinge))
    return np.array(losses)


def unhinged(logits, target, m=1.0):
    # m - z_t + 1/C sum_{j != t} z_j
    losses = []
    for z, t in zip(logits, target, strict=True):
        losses.append(m - z[t] + sum(z[j] for j in others(t, len(z))) / len(z))
    return np.array(losses)


def logit_adjustment(logits, target, prior, tau=1.0):
    # cross-entropy of z_j + tau log prior_j, Menon et al. 2021
    losses = []
    for z, t in zip(logits, target, strict=True):
        losses.append(cross_entropy([z[j] + tau * math.log(prior[j]) for j in range(len(z))], t))
    return np.array(losses)


def logit_adjusted_hinge(logits, target, prior, tau=1.023, a=0.0624, b=0.216, m=0.927):
    # cross-entropy of z_j + tau log prior_j, + a z_t + b/C sum_{j != t, z_j > 0} max(0, m + p_j + log z_j - z_t)
    losses = []
    for z, t, adjusted in zip(logits, target, logit_adjustment(logits, target, prior, tau), strict=True):
        p = softmax(z)
        positive = [j for j in others(t, len(z)) if z[j] > 0]
        hinges = sum(max(0.0, m + p[j] + math.log(z[j]) - z[t]) for j in positive)
        losses.append(adjusted + a * z[t] + b * hinges / len(z))
    return np.array(losses)


def ldam(embeddings, weight, target, prior, s=30.0, m=0.5):
    # cross-entropy of s (c_t - Delta_t) and s c_j, Delta_j = m (n_min / n_j)^(1/4), Cao et al. 2019
    losses = []
    for x, t in zip(embeddings, target, strict=True):
        scores = [s * c for c in cosines(x, weight)]
        scores[t] -= s * m * (min(prior) / prior[t]) ** 0.25
        losses.append(cross_entropy(scores, t))
    return np.array(losses)


def l2_constrained_softmax(embeddings, weight, target, s=16.0):
    # cross-entropy of s |w_j| c_j, Ranjan et al. 2017
    losses = []
    for x, t in zip(embeddings, target, strict=True):
        losses.append(cross_entropy([s * math.sqrt(np.dot(w, w)) * cosine(x, w) for w in weight], t))
    return np.array(losses)


def mv_am_softmax(embeddings, weight, target, at, s=32.0, m=0.35, tau=0.2):
    # cross-entropy of s (c_t - m), s ((tau + 1) c_j + tau) where c_j > c_t - m, s c_j elsewhere, Wang et al. 2020
    losses = []
    for x, x_held, t in zip(embeddings, at[0], target, strict=True):
        c, held = cosines(x, weight), cosines(x_held, at[1])
        scores = [s * ((tau + 1) * c[j] + tau) if held[j] > held[t] - m else s * c[j] for j in range(len(c))]
        scores[t] = s * (c[t] - m)
        losses.append(cross_entropy(scores, t))
    return np.array(losses)


def circle(embeddings, weight, target, at, s=256.0, m=0.25):
    # cross-entropy of s a_t (c_t - (1 - m)), a_t = max(0, 1 + m - c_t), and s a_j (c_j - m), a_j = max(0, c_j + m)
    # Sun et al. 2020
    losses = []
    for x, x_held, t in zip(embeddings, at[0], target, strict=True):
        c, held = cosines(x, weight), cosines(x_held, at[1])
        scores = [s * max(0.0, held[j] + m) * (c[j] - m) for j in range(len(c))]
        scores[t] = s * max(0.0, 1 + m - held[t]) * (c[t] - (1 - m))
        losses.append(cross_entropy(scores, t))
    return np.array(losses)


def sub_center_arcface(embeddings, sub_centers, target, s=64.0, m=0.5):
    # arcface_monotone with cos(theta_j) = max_k cos(x, w_jk), Deng et al. 2020
    losses = []
    for x, t in zip(embeddings, target, strict=True):
        c = [max(cosines(x, centers)) for centers in sub_centers]
        losses.append(monotone_arcface(c, t, s, m))
    return np.array(losses)


def arcface_monotone(embeddings, weight, target, s=30.0, m=0.5):
    return np.array(
        [monotone_arcface(cosines(x, weight), t, s, m) for x, t in zip(embeddings, target, strict=True)],
    )


def monotone_arcface(c, t, s, m):
    # cross-entropy of s cos(theta_j) with s cos(theta_t + m) for the target, or s (cos(theta_t) - m sin(m)) where
    # theta_t + m > pi, Deng et al. 2019 as implemented by its authors
    scores = [s * cosine for cosine in c]
    theta = math.acos(c[t])
    scores[t] = s * math.cos(theta + m) if theta + m <= math.pi else s * (c[t] - m * math.sin(m))
    return cross_entropy(scores, t)


REFERENCES = {
    reference.__name__: reference
    for reference in (
        kl_divergence,
        rmse,
        sum_squared_error,
        baikal,
        taylor_glo,
        maximum_entropy,
        large_margin_cross_entropy,
        reverse_cross_entropy,
        normalized_cross_entropy,
        ramp,
        unhinged,
        logit_adjustment,
        logit_adjusted_hinge,
        ldam,
        l2_constrained_softmax,
        mv_am_softmax,
        circle,
        sub_center_arcface,
        arcface_monotone,
    )
}
