"""Losses made for noisy labels."""

from lossearch.primitives.catalog.loss import Hyperparameter as H
from lossearch.primitives.catalog.loss import Loss

_LOG_ZERO = H("log_zero", -4.0, -10.0, -1.0)

LOSSES = (
    Loss(
        "mae",
        "abs(p - y)",
        (),
        "Ghosh et al., Robust Loss Functions under Label Noise, AAAI 2017; mean over classes of the softmax error",
    ),
    Loss(
        "symmetric_cross_entropy",
        "a*ce(z) - b*sum_c(p*maximum(log(y), log_zero))",
        (H("a", 0.1, 0.01, 10.0, log=True), H("b", 1.0, 0.01, 10.0, log=True), _LOG_ZERO),
        "Wang et al., Symmetric Cross Entropy for Robust Learning with Noisy Labels, ICCV 2019, eq. 7",
    ),
    Loss(
        "reverse_cross_entropy",
        "-sum_c(p*maximum(log(y), log_zero))",
        (_LOG_ZERO,),
        "Wang et al., Symmetric Cross Entropy for Robust Learning with Noisy Labels, ICCV 2019, eq. 6",
    ),
    Loss(
        "normalized_cross_entropy",
        "ce(z)/sum_c(-log(p))",
        (),
        "Ma et al., Normalized Loss Functions for Deep Learning with Noisy Labels, ICML 2020",
    ),
    Loss(
        "active_passive",
        "a*ce(z)/sum_c(-log(p)) - b*sum_c(p*maximum(log(y), log_zero))",
        (H("a", 1.0, 0.01, 10.0, log=True), H("b", 1.0, 0.01, 10.0, log=True), _LOG_ZERO),
        "Ma et al., Normalized Loss Functions for Deep Learning with Noisy Labels, ICML 2020: normalized and reverse "
        "cross-entropy",
    ),
    Loss(
        "generalized_cross_entropy",
        "at_target((1 - p**q)/q)",
        (H("q", 0.7, 0.01, 1.0),),
        "Zhang and Sabuncu, Generalized Cross Entropy Loss, NeurIPS 2018, eq. 6",
    ),
    Loss(
        "truncated_generalized_cross_entropy",
        "(1 - maximum(at_target(p), k)**q)/q",
        (H("q", 0.7, 0.01, 1.0), H("k", 0.5, 0.0, 0.99)),
        "Zhang and Sabuncu, Generalized Cross Entropy Loss, NeurIPS 2018, section 3.3: p at the target is k at least",
    ),
    Loss(
        "mixed_cross_entropy",
        "(1 - m*progress)*ce(z) - m*progress*log(max_c(p))",
        (H("m", 0.5, 0.0, 1.0),),
        "Li and Lu, Mixed Cross Entropy Loss for Neural Machine Translation, ICML 2021: the share of the model's own "
        "prediction grows to m with progress",
    ),
    Loss(
        "ramp",
        "minimum(mean_c((1 - y)*relu(m + z - at_target(z))), cap)",
        (H("m", 1.0, 0.05, 10.0, log=True), H("cap", 1.0, 0.05, 10.0, log=True)),
        "Huang et al., Ramp Loss Linear Programming Support Vector Machine, JMLR 2014; over the multi-class hinge",
    ),
    Loss(
        "unhinged",
        "m + mean_c((1 - y)*z) - at_target(z)",
        (H("m", 1.0, 0.0, 10.0),),
        "van Rooyen et al., Learning with Symmetric Label Noise: The Importance of Being Unhinged, NeurIPS 2015; "
        "unbounded below: with weight decay only",
    ),
)
