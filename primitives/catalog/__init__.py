"""The known losses by name, each an entry in the file of its family."""

from lossearch.primitives.catalog import centers, classification, discovered, imbalance, margins, robust
from lossearch.primitives.catalog.loss import Loss
from lossearch.primitives.errors import UserError, nearest, shown

#: Every known loss by its name.
CATALOG: dict[str, Loss] = {
    loss.name: loss
    for family in (classification, robust, imbalance, margins, centers, discovered)
    for loss in family.LOSSES
}

#: Other names of known losses, and the name in the catalogue for each.
ALIASES: dict[str, str] = {alias: loss.name for loss in CATALOG.values() for alias in loss.aliases}


def known_loss(name: str) -> Loss:
    """Return the loss of this name or alias. Raises UserError with the nearest known names."""
    name = ALIASES.get(name, name)
    if name not in CATALOG:
        raise UserError(f"Unknown loss {shown(repr(name))}{nearest(name, [*CATALOG, *ALIASES])}")
    return CATALOG[name]
