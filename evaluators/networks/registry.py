"""The networks by name: small proxies, and networks of papers."""

from lossearch.evaluators.networks import Network
from lossearch.evaluators.networks.emosynthnet import EmoSynthNet
from lossearch.evaluators.networks.layers import Backbone
from lossearch.evaluators.networks.proxies import ConvNet, DenseNet, FullyConvolutionalNet, Perceptron, ResidualNet
from lossearch.evaluators.networks.resnet import ImprovedResNet18, ResNet18
from lossearch.evaluators.networks.unet import UNet
from lossearch.evaluators.networks.vgg import VGG
from lossearch.primitives.errors import Argument, UserError, nearest, shown

#: Each network by name. It is made from the shape of an input, the size of an embedding and a generator.
NETWORKS: dict[Network, type[Backbone]] = {
    "mlp": Perceptron,
    "cnn": ConvNet,
    "resnet": ResidualNet,
    "dense": DenseNet,
    "fcn": FullyConvolutionalNet,
    "vgg_pedcc": VGG,
    "resnet18": ResNet18,
    "resnet18_ir": ImprovedResNet18,
    "unet": UNet,
    "emosynthnet": EmoSynthNet,
}


def require_network(name: str) -> None:
    """Raise UserError unless a network has this name."""
    if name not in NETWORKS:
        hint = nearest(name, NETWORKS)
        raise UserError(Argument("network"), f": expected the name of a network, got {shown(name)!r}{hint}")
