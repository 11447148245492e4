"""Losses with a margin between the cosines of embeddings and class weights."""

from lossearch.primitives.catalog.loss import Hyperparameter as H
from lossearch.primitives.catalog.loss import Loss


def _scale(default: float) -> H:
    return H("s", default, 1.0, 512.0, log=True)


#: cos(m*theta) continued monotonically beyond pi/m: (-1)**k*cos(m*theta) - 2*k, with k = floor(m*theta/pi).
_PSI = "cos(pi*floor(m*arccos(cosine)/pi))*cos(m*arccos(cosine)) - 2*floor(m*arccos(cosine)/pi)"

#: 1 where theta + m is below pi and cos(theta + m) falls with theta, else 0.
_FALLS = "relu(sign(cosine + cos(m)))"

#: ArcFace's softmax; the target has cos(theta) - m*sin(m) where cos(theta + m) would rise again.
_MONOTONE_ARCFACE = (
    f"ce(s*(y*({_FALLS}*cos(arccos(cosine) + m) + (1 - {_FALLS})*(cosine - m*sin(m))) + (1 - y)*cosine))"
)

LOSSES = (
    Loss(
        "normalized_softmax",
        "ce(s*cosine)",
        (_scale(16.0),),
        "Wang et al., CosFace, CVPR 2018, section 3.1: without a margin",
    ),
    Loss(
        "l2_constrained_softmax",
        "ce(s*weight_norm*cosine)",
        (_scale(16.0),),
        "Ranjan et al., L2-constrained Softmax Loss for Discriminative Face Verification, 2017: embeddings of length s",
    ),
    Loss(
        "am_softmax",
        "ce(s*(cosine - m*y))",
        (_scale(30.0), H("m", 0.35, 0.0, 1.0)),
        "Wang et al., Additive Margin Softmax for Face Verification, 2018, eq. 6; CosFace, CVPR 2018, eq. 4",
        aliases=("cosface", "lmcl"),
    ),
    Loss(
        "arcface",
        "ce(s*cos(arccos(cosine) + m*y))",
        (_scale(30.0), H("m", 0.5, 0.0, 1.5)),
        "Deng et al., ArcFace, CVPR 2019, eq. 3; margin in radians; rises again beyond theta = pi - m",
        aliases=("aam_softmax",),
    ),
    Loss(
        "arcface_monotone",
        _MONOTONE_ARCFACE,
        (_scale(30.0), H("m", 0.5, 0.0, 1.5)),
        "Deng et al., ArcFace, CVPR 2019, as in its authors' code and pytorch-metric-learning: beyond theta = pi - m "
        "the target's logit is cos(theta) - m*sin(m)",
    ),
    Loss(
        "sub_center_arcface",
        _MONOTONE_ARCFACE,
        (_scale(64.0), H("m", 0.5, 0.0, 1.5)),
        "Deng et al., Sub-center ArcFace, ECCV 2020: the cosine is the largest over a class's sub-centers; monotone as "
        "in its authors' code",
        class_weights="sub_centers",
    ),
    Loss(
        "a_softmax",
        f"ce(norm*(y*({_PSI}) + (1 - y)*cosine))",
        (H("m", 4, 1, 8, whole=True),),
        "Liu et al., SphereFace, CVPR 2017, eq. 7",
        aliases=("sphereface",),
    ),
    Loss(
        "l_softmax",
        f"ce(norm*weight_norm*(y*({_PSI}) + (1 - y)*cosine))",
        (H("m", 2, 1, 8, whole=True),),
        "Liu et al., Large-Margin Softmax Loss, ICML 2016, eq. 4 to 6",
    ),
    Loss(
        "double_additive_margin",
        "ce(s*(cosine + m*(1 - 2*y)))",
        (_scale(30.0), H("m", 0.2, 0.0, 1.0)),
        "Zhou et al., Applied Sciences 10(1):60, 2020; the softmax sees am_softmax with twice the margin",
    ),
    Loss(
        "dynamic_additive_margin",
        "ce(s*(cosine - m*exp(1 - cosine)/lam*y))",
        (_scale(30.0), H("m", 0.2, 0.0, 1.0), H("lam", 1.0, 0.1, 10.0, log=True)),
        "Zhou et al., Dynamic Margin Softmax Loss for Speaker Verification, Interspeech 2020: a larger margin where "
        "the cosine is smaller",
    ),
    Loss(
        "enhanced_am_softmax",
        "ce(s*(y*(cosine - m)/exp(m) + (1 - y)*cosine))",
        (_scale(30.0), H("m", 0.35, 0.0, 1.0)),
        "Enhanced AM-Softmax, project report on LFW: its prediction function",
    ),
    Loss(
        "enhanced_am_softmax_ratio",
        "-at_target(softmax_c(s*(cosine + m*(1 - 2*y))))",
        (_scale(30.0), H("m", 0.35, 0.0, 1.0)),
        "Enhanced AM-Softmax, project report on LFW: its loss as printed, the softmax without a logarithm",
    ),
    Loss(
        "mv_am_softmax",
        "ce(s*(cosine - m*y + (1 - y)*(tau*cosine + tau)*relu(sign(detach(cosine - at_target(cosine) + m)))))",
        (H("s", 32.0, 1.0, 512.0, log=True), H("m", 0.35, 0.0, 1.0), H("tau", 0.2, 0.0, 2.0)),
        "Wang et al., Mis-classified Vector Guided Softmax Loss, AAAI 2020: misleading classes count for more",
    ),
    Loss(
        "circle",
        "ce(s*(y*detach(relu(1 + m - cosine))*(cosine - (1 - m)) + (1 - y)*detach(relu(cosine + m))*(cosine - m)))",
        (_scale(256.0), H("m", 0.25, 0.0, 1.0)),
        "Sun et al., Circle Loss, CVPR 2020, with class-level labels",
    ),
    Loss(
        "pedcc",
        "ce(s*(cosine - m*y)) + lam*batch_mean(1 - at_target(cosine))**(1/n)",
        (
            _scale(15.0),
            H("m", 0.5, 0.0, 1.0),
            H("lam", 10.0, 0.01, 100.0, log=True),
            H("n", 2.0, 1.0, 4.0),
        ),
        "Zhu et al., A New Loss Function for CNN Classifier Based on Predefined Evenly-Distributed Class Centroids, "
        "IEEE Access 2019, eq. 8 to 10; batch mean",
        class_weights="pedcc",
    ),
)
