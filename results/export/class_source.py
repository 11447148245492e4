"""Source of the class in an exported file: docstring, fields and methods, and the functions of ours that they call."""

from collections.abc import Callable, Iterator
from textwrap import fill, indent, wrap
from typing import Any

from lossearch.primitives.modules import contract, pedcc
from lossearch.results.export.constructor_source import (
    constructor_source,
    load_source,
    set_progress_source,
    sets_progress,
)
from lossearch.results.export.exportable import Exportable
from lossearch.results.export.forward_source import forward_source, get_logits_source, index_program
from lossearch.results.plain_text import plain

#: Largest number of characters in a line of the file.
WIDTH = 120


def class_source(loss: Exportable) -> str:
    """Return the source of the class ``Loss``."""
    blocks = [_fields(loss), constructor_source(loss)]
    if sets_progress(loss):
        blocks.append(set_progress_source(loss))
        blocks.append(load_source(loss))
    blocks.append(forward_source(loss))
    if loss.over_embeddings:
        blocks.append(get_logits_source(loss))
    blocks.append(_extra_repr(loss))
    body = "\n\n".join(indent(block, "    ") for block in blocks)
    return f"class Loss(nn.Module):\n{_docstring(loss)}\n{body}\n"


def helper_functions(loss: Exportable) -> Iterator[Callable[..., Any]]:
    """Yield the functions of ours that the class calls, without those of its formula."""
    yield contract.checked_target
    yield contract.require_options
    yield contract.without_ignored
    yield contract.without_autocast
    yield contract.in_single_precision
    yield contract.target_of
    yield contract.reduced
    if loss.over_embeddings:
        yield contract.count
    if "y" in index_program(loss).inputs:
        yield contract.one_hot
    if "prior" in loss.formula.names:
        yield contract.class_frequencies
    yield contract.require_embeddings if loss.over_embeddings else contract.require_logits
    yield from (contract.numbers_per_class, contract.require_one_per_class, contract.per_class)
    yield from (contract.reweighted, contract.samples_counted)
    if loss.class_weights == "pedcc" and loss.owns_weight:
        yield pedcc.evenly_distributed


def _docstring(loss: Exportable) -> str:
    paragraphs = [fill(text, WIDTH - 8, break_on_hyphens=False) for text in _paragraphs(loss)]
    return indent('"""' + "\n\n".join(paragraphs) + '\n"""', "    ") + "\n"


def _paragraphs(loss: Exportable) -> Iterator[str]:
    """Yield the paragraphs of the docstring: everything that a user of the class has to know."""
    title = plain(loss.title) if loss.title else "A loss"
    if loss.over_embeddings:
        yield f"{title} over embeddings [batch, embedding_size] and class indices [batch] or probabilities."
    else:
        yield f"{title} over logits [batch, classes, ...] and class indices [batch, ...] or probabilities."
    if loss.over_embeddings and not loss.owns_weight:
        if loss.moves_with_centers:
            yield "``centers`` [num_classes, embedding_size] are a parameter: give them to the optimiser."
    elif loss.over_embeddings and not loss.moves_with_weight:
        yield "``weight`` [num_classes, embedding_size] is for ``get_logits`` alone: the loss does not train it."
    elif loss.class_weights == "pedcc":
        yield (
            "The class weights ``weight`` [num_classes, embedding_size] are evenly distributed on the unit sphere. "
            "They are fixed, or learned from the progress ``fine_tune_from`` on: then give them to the optimiser, too."
        )
        if "dist2" in loss.formula.names:
            yield "``centers`` [num_classes, embedding_size] are a parameter: give them to the optimiser."
    elif loss.over_embeddings:
        several = "sub_centers, " if loss.class_weights == "sub_centers" else ""
        centers = " and ``centers`` [num_classes, embedding_size]" if "dist2" in loss.formula.names else ""
        yield (
            f"The class weights ``weight`` [num_classes, {several}embedding_size]{centers} are parameters: give them "
            "to the optimiser."
        )
    yield _weight_paragraph(loss)
    if "prior" in loss.formula.names:
        yield "``prior`` [classes] holds the relative frequencies of the classes in the training set; they sum to 1."
    if sets_progress(loss):
        yield "Call ``set_progress`` before each step with the share of the training that is done, from 0 to 1."
    if loss.calibration is not None:
        yield (
            "``calibrated`` multiplies by the factor from the run that found the loss. It makes the first gradient as "
            "large as cross-entropy's in the run's network. In another network, look for the learning rate anew."
        )
    if loss.scale != 1.0:
        yield "``scale`` multiplies the value."
    yield "``reduction`` is mean, over the samples that are not ignored, sum or none."


def _weight_paragraph(loss: Exportable) -> str:
    argument = "The argument ``weight``" if loss.over_embeddings else "``weight``"
    if loss.linear_in_target:
        return f"{argument} [classes] rescales each class's part of the loss, as in torch.nn.CrossEntropyLoss."
    return (
        f"{argument} [classes] multiplies the value of each sample by the weight w of its class index. With "
        "probabilities y the value is that at w*y/sum(w*y), times sum(w*y)."
    )


def _fields(loss: Exportable) -> str:
    """Return the annotations and constants of the class."""
    lines = []
    lines.append("rescaling: Tensor | None" if loss.over_embeddings else "weight: Tensor | None")
    if "prior" in loss.formula.names:
        lines.append("prior: Tensor")
    if sets_progress(loss):
        lines.append("progress: Tensor")
    pieces = [repr(piece) for piece in _split_text(str(loss.formula), WIDTH - 12)]
    fits = len(pieces) == 1 and len(pieces[0]) + 14 <= WIDTH
    lines += [f"formula = {pieces[0]}"] if fits else ["formula = (", *(f"    {piece}" for piece in pieces), ")"]
    if loss.calibration is not None:
        lines.append(f"calibration = {loss.calibration!r}")
    return "\n".join(lines).replace("'", '"')


def _split_text(text: str, width: int) -> list[str]:
    """Cut a text after spaces. The pieces joined are the text."""
    return wrap(text, width - 1, drop_whitespace=False, break_on_hyphens=False) or [text]


def _extra_repr(loss: Exportable) -> str:
    values = [f'f"{name}={{self.{name}}}"' for name in (*loss.hyperparameters, "reduction")]
    one_line = f"    values = [{', '.join(values)}]"
    if len(one_line) > WIDTH - 4:
        one_line = "\n        ".join(["    values = [", *(f"{value}," for value in values)]) + "\n    ]"
    return f'def extra_repr(self) -> str:\n{one_line}\n    return ", ".join([self.formula, *values])'
