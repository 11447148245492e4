"""Losses made for noisy labels."""

from primitives.loss import Hyperparameter as H
from primitives.loss import Loss

LOSSES = (
    Loss(
        "mae", "abs(p - y)", (), "Ghosh et al., Robust Loss Functions under Label Noise, AAAI 2017; mean over classes"
    ),
    Loss(
        "symmetric_cross_entropy",
        "a*ce(z) - b*sum_c(p*maximum(log(y), log_zero))",
        (H("a", 0.1, 0.01, 10.0, log=True), H("b", 1.0, 0.01, 10.0, log=True), H("log_zero", -4.0, -10.0, -1.0)),
        "Wang et al., Symmetric Cross Entropy for Robust Learning with Noisy Labels, ICCV 2019, eq. 7",
    ),
    Loss(
        "generalized_cross_entropy",
        "at_target((1 - p**q)/q)",
        (H("q", 0.7, 0.01, 1.0),),
        "Zhang and Sabuncu, Generalized Cross Entropy Loss, NeurIPS 2018, eq. 6",
    ),
)
