"""The networks: their names. ``registry.py`` has the networks themselves, which need torch."""

from typing import Literal

#: Names of the networks.
Network = Literal["mlp", "cnn", "resnet", "dense", "fcn", "vgg_pedcc", "resnet18", "resnet18_ir", "unet", "emosynthnet"]

#: Networks that give every pixel an embedding, for tasks on pixels.
DENSE = ("dense", "fcn", "unet")

#: Fewest pixels of an image each way to shift or flip it, and for the proxies, whose two poolings halve it.
SMALLEST_IMAGE = 4
