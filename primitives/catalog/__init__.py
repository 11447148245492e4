"""The known losses by name: each is one line in a file of its family."""

from primitives.catalog import classification, margins, robust
from primitives.errors import UserError
from primitives.loss import Loss
from primitives.nearest import nearest

#: Every known loss by name.
CATALOG: dict[str, Loss] = {loss.name: loss for loss in (*classification.LOSSES, *robust.LOSSES, *margins.LOSSES)}


def known_loss(name: str) -> Loss:
    """The catalogue's loss of this name; UserError with the nearest known names where there is none."""
    if name not in CATALOG:
        raise UserError(f"Unknown loss {name!r}{nearest(name, CATALOG)}")
    return CATALOG[name]
