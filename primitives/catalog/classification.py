"""Losses over class probabilities and logits."""

from lossearch.primitives.catalog.loss import Hyperparameter as H
from lossearch.primitives.catalog.loss import Loss

LOSSES = (
    Loss(
        "cross_entropy",
        "ce(z)",
        (),
        "Bishop, Pattern Recognition and Machine Learning, 2006, eq. 4.108",
    ),
    Loss(
        "kl_divergence",
        "ce(z) + sum_c(y*log(maximum(y, 1e-12)))",
        (),
        "Kullback and Leibler, 1951; cross-entropy less the target's own entropy",
    ),
    Loss(
        "mse",
        "square(p - y)",
        (),
        "Brier, Monthly Weather Review, 1950; mean over classes of the softmax error",
    ),
    Loss(
        "rmse",
        "sqrt(mean_c(square(p - y)))",
        (),
        "the square root of mse for each sample",
    ),
    Loss(
        "sum_squared_error",
        "sum_c(square(p - y))",
        (),
        "Brier, Monthly Weather Review, 1950, eq. 2: sum over classes",
    ),
    Loss(
        "hinge",
        "mean_c((1 - y)*relu(m + z - at_target(z)))",
        (H("m", 1.0, 0.05, 10.0, log=True),),
        "Crammer and Singer, JMLR 2001; Weston and Watkins, 1999, summed over classes and divided by their number "
        "as in torch.nn.MultiMarginLoss",
    ),
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
        "baikal",
        "sum_c(y/p - log(p))",
        (),
        "Gonzalez and Miikkulainen, Improved Training Speed, Accuracy, and Data Utilization Through Loss Function "
        "Optimization, CEC 2020; sum over classes",
    ),
    Loss(
        "taylor_glo",
        "-(t2*(p - t1) + t3*(p - t1)**2/2 + t4*(p - t1)**3/6 + t5*(y - t0)*(p - t1)"
        " + t6*(y - t0)*(p - t1)**2/2 + t7*(y - t0)**2*(p - t1)/2)",
        (
            *(H(name, 0.0, -20.0, 20.0) for name in ("t0", "t1", "t2")),
            H("t3", -2.0, -20.0, 20.0),
            H("t4", 0.0, -20.0, 20.0),
            H("t5", 2.0, -20.0, 20.0),
            *(H(name, 0.0, -20.0, 20.0) for name in ("t6", "t7")),
        ),
        "Gonzalez and Miikkulainen, Optimizing Loss Functions Through Multi-Variate Taylor Polynomial "
        "Parameterization, GECCO 2021; the defaults here make it mse plus a constant",
    ),
    Loss(
        "label_smoothing",
        "(1 - eps)*ce(z) - eps*mean_c(log(p))",
        (H("eps", 0.1, 0.0, 0.9),),
        "Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7",
    ),
    Loss(
        "maximum_entropy",
        "ce(z) + lam*sum_c(p*log(p))",
        (H("lam", 0.1, 0.001, 1.0, log=True),),
        "Dubey et al., Maximum-Entropy Fine-Grained Classification, NeurIPS 2018: cross-entropy less the entropy",
    ),
    Loss(
        "poly1",
        "ce(z) + eps*(1 - at_target(p))",
        (H("eps", 1.0, -1.0, 8.0),),
        "Leng et al., PolyLoss, ICLR 2022, eq. 6",
    ),
    Loss(
        "nabaei_sce",
        "a*ce(z) - b*batch_mean(sum_c(square(y - p)))*sqrt(sum_c(square(1 - y - p)))*log10(at_target(p))",
        (H("a", 0.5, 0.0, 4.0), H("b", 0.5, 0.0, 4.0)),
        "Nabaei, EmoSynthNet, 2024, eq. 4.3 to 4.6 and figure 4.1",
    ),
    Loss(
        "mam_softmax",
        "ce(z - detach(mean_c(z) + minimum(maximum(log(maximum(max_c(z) + eps, 1e-12)), 0), cap))*y)",
        (H("eps", 0.2, 0.001, 1.0, log=True), H("cap", 4.0, 0.0, 16.0)),
        "Nabaei, EmoSynthNet, 2024, eq. 4.14 to 4.16; the margin is held constant for the gradient",
    ),
    Loss(
        "soft_margin_softmax",
        "ce(z - m*y)",
        (H("m", 0.5, 0.0, 8.0),),
        "Liang et al., Soft-Margin Softmax for Deep Classification, ICONIP 2017",
    ),
    Loss(
        "large_margin_cross_entropy",
        "ce(z) + lam/2*sum_c((1 - y)*(exp(minimum(log(p) - at_target(log(1 - p)), 0)) - 1/(num_classes - 1))"
        "*minimum(log(p) - at_target(log(1 - p)), 0))",
        (H("lam", 0.3, 0.001, 3.0, log=True),),
        "Kobayashi, Large Margin in Softmax Cross-Entropy Loss, BMVC 2019",
    ),
)
