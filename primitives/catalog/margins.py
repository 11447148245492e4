"""Losses with a margin between the cosines of embeddings and class weights."""

from primitives.loss import Hyperparameter as H
from primitives.loss import Loss

LOSSES = (
    Loss(
        "am_softmax",
        "ce(s*(cosine - m*y))",
        (H("s", 30.0, 1.0, 128.0, log=True), H("m", 0.35, 0.0, 1.0)),
        "Wang et al., Additive Margin Softmax for Face Verification, 2018, eq. 6; CosFace, CVPR 2018, eq. 4",
    ),
    Loss(
        "arcface",
        "ce(s*cos(arccos(cosine) + m*y))",
        (H("s", 30.0, 1.0, 128.0, log=True), H("m", 0.5, 0.0, 1.5)),
        "Deng et al., ArcFace, CVPR 2019, eq. 3; margin in radians",
    ),
)
