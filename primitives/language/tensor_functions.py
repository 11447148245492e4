"""The torch functions of operators and terminals, found by their names when one is first used."""

from collections.abc import Callable
from typing import Any


def tensor_function(name: str) -> Callable[..., Any]:
    """Return the function of this name, such as "torch.square", or "numerics.exp" for a total one of this wing."""
    import operator

    import torch

    from lossearch.primitives.language import numerics

    modules = {"operator": operator, "numerics": numerics, "torch": torch, "torch.nn.functional": torch.nn.functional}
    module, _, function = name.rpartition(".")
    return getattr(modules[module], function)
