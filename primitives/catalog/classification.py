"""Losses over class probabilities."""

from primitives.loss import Hyperparameter as H
from primitives.loss import Loss

LOSSES = (
    Loss("cross_entropy", "ce(z)", (), "Bishop, Pattern Recognition and Machine Learning, 2006, eq. 4.108"),
    Loss("mse", "square(p - y)", (), "Brier, Monthly Weather Review, 1950; mean over classes"),
    Loss(
        "focal",
        "-sum_c(alpha*y*(1 - p)**gamma*log(p))",
        (H("alpha", 1.0, 0.05, 4.0, log=True), H("gamma", 2.0, 0.0, 5.0)),
        "Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, eq. 5",
    ),
    Loss(
        "ngl",
        "exp(alpha - p*(1 + y)) - cos(cos(sin(p)))",
        (H("alpha", 2.4092, 0.0, 5.0),),
        "Akhmedova and Koerber, Next Generation Loss Function for Image Classification, arXiv 2404.12948",
    ),
    Loss(
        "label_smoothing",
        "(1 - eps)*ce(z) - eps*mean_c(log(p))",
        (H("eps", 0.1, 0.0, 0.9),),
        "Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7",
    ),
    Loss(
        "poly1",
        "ce(z) + eps*(1 - at_target(p))",
        (H("eps", 1.0, -1.0, 8.0),),
        "Leng et al., PolyLoss, ICLR 2022, eq. 6",
    ),
)
