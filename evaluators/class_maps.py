"""Class maps: where in an image a network sees the class that it finds (Grad-CAM; Selvaraju et al., ICCV 2017)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def class_maps(backbone: nn.Module, logits_of: Callable[[Tensor], Tensor], images: Tensor) -> Tensor | None:
    """Maps in [0, 1] of images [batch, channels, height, width], [batch, height, width]; None without feature maps.

    The feature maps are the last of the network, weighted by the gradient of the logit of the class that is found, and
    enlarged to the images.
    """
    seen: list[Tensor] = []

    def look(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[0] == len(images):
            seen.append(output)

    hooks = [each.register_forward_hook(look) for each in backbone.modules() if not list(each.children())]
    backbone.eval()
    try:
        logits = logits_of(backbone(images))
    finally:
        for hook in hooks:
            hook.remove()
    if not seen or len(logits) != len(images):
        return None
    (gradient,) = torch.autograd.grad(logits.max(1).values.sum(), seen[-1])
    weighted = F.relu((gradient.mean((2, 3), keepdim=True) * seen[-1]).sum(1, keepdim=True))
    maps = F.interpolate(weighted, images.shape[2:], mode="bilinear", align_corners=False)[:, 0].detach()
    return maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-12)
