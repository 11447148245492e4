"""Graph module: the module whose graph is exported, and what the graph fixes of it."""

from collections.abc import Iterator, Mapping
from typing import Any

from lossearch.primitives.errors import UserError
from lossearch.primitives.modules.contract import count
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, FormulaLoss, loss_module
from lossearch.results.export.exportable import Exportable
from lossearch.results.leaderboard import Entry

RANDOM = "The class weights of the graph are random: train a module of the loss, and export it."


def graph_module(
    loss: "str | FormulaLoss | Entry",
    exportable: Exportable,
    num_classes: int | None,
    embedding_size: int | None,
    tensors: Mapping[str, Any],
) -> FormulaLoss:
    """The module whose graph is written: the one that is given, or a new one. Raises UserError for other sizes."""
    if embedding_size is not None and not exportable.over_embeddings:
        raise UserError(
            f"Expected embedding_size for a loss over embeddings alone, {exportable.formula} is over logits."
        )
    if isinstance(loss, FormulaLoss):
        for name, size in (("num_classes", num_classes), ("embedding_size", embedding_size)):
            own = getattr(loss, name, None)
            if size is not None and own is not None and size != own:
                raise UserError(f"Expected {name} {own}, the module's, got {size}. Leave it out.")
        return loss
    factor = exportable.scale * (1.0 if exportable.calibration is None else exportable.calibration)
    options: dict[str, Any] = {name: getattr(exportable, name) for name in ("reduction", "ignore_index")}
    options |= {"label_smoothing": exportable.label_smoothing, "scale": factor}
    if exportable.over_embeddings:
        options |= {"class_weights": exportable.class_weights, "fine_tune_from": exportable.fine_tune_from}
        options |= {"sub_centers": exportable.sub_centers} if exportable.class_weights == "sub_centers" else {}
    return loss_module(
        exportable.formula,
        exportable.hyperparameters,
        num_classes=num_classes,
        embedding_size=embedding_size,
        **options,
        **tensors,
    )


def fixed_in_graph(loss: "str | FormulaLoss | Entry", module: FormulaLoss, classes: int) -> Iterator[str]:
    """What of a module is fixed in its graph."""
    names = module.formula.names
    if isinstance(module, EmbeddingLoss):
        yield f"The graph is for {classes} classes and embeddings of size {module.embedding_size}."
        if module is loss:
            yield "Its class weights are those of the module at the export."
        elif module.class_weights.kind != "pedcc":
            yield RANDOM
    else:
        yield f"The graph is for {classes} classes."
    if "prior" in names and module.prior is not None:
        yield f"Its prior is {', '.join(f'{share:g}' for share in module.prior.tolist()[:20])}."
    if "progress" in names:
        yield f"Its progress stays at {float(module.progress):g}, whatever the training: a Python file can be told."


def graph_classes(module: FormulaLoss, num_classes: int | None, form: str) -> int:
    """How many classes a graph has. Raises UserError where nothing says it."""
    own = getattr(module, "num_classes", None)
    if own is None and num_classes is None:
        raise UserError(f"Expected num_classes=... for the format {form}: a graph has a fixed number of classes.")
    given: Any = own if own is not None else num_classes
    return count("num_classes", given)
