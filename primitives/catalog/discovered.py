"""Losses that searches discovered. docs/evidence.md has the evidence for them."""

from lossearch.primitives.catalog.loss import Hyperparameter as H
from lossearch.primitives.catalog.loss import Loss

LOSSES = (
    Loss(
        "logit_adjusted_hinge",
        "ce(z + tau*log(prior)) + a*at_target(z) + b*mean_c((1 - y)*relu(m + p + log(z) - at_target(z)))",
        (
            H("tau", 1.023, 0.0, 4.0),
            H("a", 0.0624, 0.0, 1.0),
            H("b", 0.216, 0.0, 5.0),
            H("m", 0.927, 0.0, 5.0),
        ),
        "discovered by the search of experiments/long_tail.toml; better there than every known loss, with a perceptron "
        "on 8x8 digits whose classes differ by 50 to 1, and not with a convolutional network: docs/evidence.md",
        origin="discovered",
    ),
)
