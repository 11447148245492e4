"""Losses over the distance from embeddings to class centers."""

from lossearch.primitives.catalog.loss import Hyperparameter as H
from lossearch.primitives.catalog.loss import Loss

LOSSES = (
    Loss(
        "center",
        "ce(z) + lam/2*at_target(dist2)",
        (H("lam", 0.1, 1e-4, 10.0, log=True),),
        "Wen et al., A Discriminative Feature Learning Approach for Deep Face Recognition, ECCV 2016, eq. 5; the "
        "centers are learned by gradient",
    ),
    Loss(
        "large_margin_gaussian_mixture",
        "ce(-dist2/2*(1 + alpha*y)) + lam/2*at_target(dist2)",
        (H("alpha", 0.3, 0.0, 4.0), H("lam", 0.1, 1e-4, 10.0, log=True)),
        "Wan et al., Rethinking Feature Distribution for Loss Functions in Image Classification, CVPR 2018; identity "
        "covariance",
    ),
)
