"""Losses made for classes of different size or cost."""

from lossearch.primitives.catalog.loss import Hyperparameter as H
from lossearch.primitives.catalog.loss import Loss

LOSSES = (
    Loss(
        "real_world_weighted_cross_entropy",
        "-sum_c(w_fn*y*log(p) + w_fp*(1 - y)*log(1 - p))",
        (H("w_fn", 1.0, 0.05, 20.0, log=True), H("w_fp", 1.0, 0.05, 20.0, log=True)),
        "Ho and Wookey, The Real-World-Weight Cross-Entropy Loss Function, IEEE Access 2020; one cost for every "
        "missed class, one for every false one",
    ),
    Loss(
        "dynamically_weighted_balanced",
        "sum_c(p*(1 - p) - (log(max_c(prior)/prior) + 1)**(1 - p)*y*log(p))",
        (),
        "Fernando and Tsokos, Dynamically Weighted Balanced Loss, IEEE TNNLS 2022",
    ),
    Loss(
        "logit_adjustment",
        "ce(z + tau*log(prior))",
        (H("tau", 1.0, 0.0, 4.0),),
        "Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021; at tau = 1 balanced softmax, Ren et al., "
        "NeurIPS 2020",
        aliases=("balanced_softmax",),
    ),
    Loss(
        "ldam",
        "ce(s*(cosine - m*(-max_c(-prior)/prior)**0.25*y))",
        (H("s", 30.0, 1.0, 128.0, log=True), H("m", 0.5, 0.0, 1.0)),
        "Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019; m is the "
        "margin of the smallest class",
    ),
)
