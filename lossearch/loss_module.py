"""Loss modules by name or by formula: ``lossearch.loss``."""

import re
import warnings
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lossearch.primitives.arguments import refuse_unknown_arguments
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, FormulaLoss

if TYPE_CHECKING:
    from lossearch.primitives.language.formula import Formula


#: Arguments of ``loss`` that are no options.
SIZES = ("num_classes", "embedding_size")


@refuse_unknown_arguments
def loss(
    name_or_formula: str, *, num_classes: int | None = None, embedding_size: int | None = None, **options: Any
) -> FormulaLoss:
    """Create a torch module of a known loss, or of any formula in the language of losses.

    Hyper-parameters are given by name: ``loss("focal", gamma=1.5)``, ``loss("ce(z) + eps*(1 - at_target(p))",
    eps=1.0)``. Further options are ``reduction`` (mean, sum or none), ``ignore_index``, ``label_smoothing`` in [0, 1],
    ``scale``, a factor, and ``prior`` [classes], the class frequencies, if the formula uses it. No hyper-parameter can
    have the name of an option.

    A loss over logits [batch, classes, ...] is called like ``torch.nn.CrossEntropyLoss`` and takes its ``weight``
    [classes]. A loss over embeddings [batch, embedding_size] needs ``num_classes`` and ``embedding_size``. It owns
    class weights, which the optimiser must train, drawn from ``generator``. ``class_weights``, ``sub_centers`` and
    ``fine_tune_from`` choose their kind: see :class:`lossearch.primitives.modules.torch_loss.EmbeddingLoss`.

    A loss over logits needs neither ``num_classes`` nor ``embedding_size``, and says so in a warning. With
    ``num_classes`` it refuses logits of another number of classes.

    Raises UserError, a ValueError, for an unknown name (with the nearest known ones), a formula that does not parse
    (with the position), and hyper-parameters that are missing, unknown or out of range. A value of a wrong type raises
    WrongType, a UserError and TypeError.
    """
    from lossearch.primitives.arguments import require_whole
    from lossearch.primitives.catalog import ALIASES, CATALOG, known_loss
    from lossearch.primitives.errors import WrongType, as_user_errors
    from lossearch.primitives.language.parser import valid_name
    from lossearch.primitives.modules.options import MODULE_OPTIONS
    from lossearch.primitives.modules.torch_loss import loss_module

    if not isinstance(name_or_formula, str):
        raise WrongType(f"Expected the name of a loss or a formula, got {type(name_or_formula).__name__}.")
    num_classes = None if num_classes is None else require_whole("num_classes", num_classes)
    embedding_size = None if embedding_size is None else require_whole("embedding_size", embedding_size)
    if name_or_formula in CATALOG or name_or_formula in ALIASES:
        known = known_loss(name_or_formula)
        require_known_options(known.name, [parameter.name for parameter in known.hyperparameters], options)
        _require_use_of_prior(known.formula, options)
        with as_user_errors():
            module = known.module(num_classes=num_classes, embedding_size=embedding_size, **options)
        _warn_of_sizes(known.name, module, num_classes, embedding_size)
        return module
    if valid_name(name_or_formula) and name_or_formula not in options:
        known_loss(name_or_formula)  # raises: a single word is a name and no formula
    hyperparameters = {name: value for name, value in options.items() if name not in MODULE_OPTIONS}
    formula = formula_with(name_or_formula, hyperparameters)
    _require_use_of_prior(formula, options)
    module_options = {name: value for name, value in options.items() if name in MODULE_OPTIONS}
    with as_user_errors():
        module = loss_module(
            formula, hyperparameters, num_classes=num_classes, embedding_size=embedding_size, **module_options
        )
    _warn_of_sizes("The formula", module, num_classes, embedding_size)
    return module


def require_known_options(
    name: str, hyperparameters: Collection[str], options: Iterable[str], arguments: Collection[str] = SIZES
) -> None:
    """Raise UserError for an option that neither the known loss nor its module has, with the nearest known one.

    ``arguments`` are further names that the call takes.
    """
    from lossearch.primitives.errors import UserError, nearest, shown, similar
    from lossearch.primitives.modules.options import MODULE_OPTIONS

    for option in options:
        if option not in hyperparameters and option not in MODULE_OPTIONS:
            of_loss = nearest(option, hyperparameters) if hyperparameters else "; it has none"
            of_any = similar(option, [*hyperparameters, *MODULE_OPTIONS, *arguments])
            raise UserError(f"{name} has no hyper-parameter {shown(repr(option))}{of_any or of_loss}")


def _warn_of_sizes(called: str, module: FormulaLoss, num_classes: int | None, embedding_size: int | None) -> None:
    """Warn of sizes that a loss over logits was given: it has no class weights, so it does not need them."""
    if isinstance(module, EmbeddingLoss):
        return
    if embedding_size is not None:
        warnings.warn(
            f"{called} is over logits and owns no class weights: embedding_size is ignored. Leave it out.", stacklevel=4
        )
    elif num_classes is not None:
        warnings.warn(
            f"{called} is over logits and needs no num_classes: it only refuses logits of other than {num_classes} "
            "classes. Leave it out, unless you want that.",
            stacklevel=4,
        )


def _require_use_of_prior(formula: "Formula", options: Mapping[str, Any]) -> None:
    from lossearch.primitives.errors import UserError

    if options.get("prior") is not None and "prior" not in formula.names:
        raise UserError(f"Expected prior for a formula that uses it, got one for {formula}. Leave it out.")


def _hint_at_option(name: str) -> str:
    """Return a sentence if an option of modules resembles the name."""
    from lossearch.primitives.errors import similar
    from lossearch.primitives.modules.options import MODULE_OPTIONS

    hint = similar(name, MODULE_OPTIONS)
    return f" D{hint.removeprefix('; d')}" if hint else ""


def formula_with(text: str, hyperparameters: Mapping[str, Any]) -> "Formula":
    """Parse a formula with these hyper-parameters.

    Raises UserError unless the formula uses a prediction and every hyper-parameter. Each value must be a finite number,
    and each name one that neither the language nor an option has.
    """
    from lossearch.primitives.analysis.targets import PREDICTIONS
    from lossearch.primitives.errors import UserError, as_user_errors, shown
    from lossearch.primitives.language.parser import parse, valid_name
    from lossearch.primitives.modules.contract import number_between
    from lossearch.primitives.modules.options import MODULE_OPTIONS

    for name in hyperparameters:
        if not valid_name(name):
            raise UserError(
                f"Expected the name of a hyper-parameter, got {shown(repr(name))}: the language or Python uses it."
            )
    try:
        formula = parse(text, hyperparameters)
    except UserError:
        taken = sorted(set(re.findall(r"[A-Za-z_]\w*", text[:10_000])) & (MODULE_OPTIONS - {"prior"}))
        if not taken:
            raise
        raise UserError(
            f"{taken[0]} is an option of the module: choose another name for the hyper-parameter."
        ) from None
    if not formula.names & PREDICTIONS:
        raise UserError(f"Expected a formula that uses a prediction, one of {', '.join(sorted(PREDICTIONS))}.")
    for name, value in hyperparameters.items():
        if name not in formula.names:
            raise UserError(
                f"The formula has no hyper-parameter {name!r}; it uses {sorted(formula.names)}.{_hint_at_option(name)}"
            )
        with as_user_errors():
            number_between(name, value)
    return formula
