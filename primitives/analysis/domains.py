"""Parts of a formula that are undefined whatever the predictions: a division by 0, or the logarithm of -1.

Every operator has a value everywhere, so that a search never stops. In a formula that a person writes, it is a slip.
"""

from collections.abc import Callable

from lossearch.primitives.language.formula import Call, Formula, number_text

#: Why an operator is undefined for arguments that are numbers; None where it is defined, or an argument varies.
_Reason = Callable[..., str | None]


def find_undefined_part(formula: Formula) -> str | None:
    """Name the first part of a formula that is undefined for all predictions, and why; None if there is none."""
    for part in formula.walk():
        if isinstance(part, Call) and part.operator in _REASONS:
            reason = _REASONS[part.operator](*(argument.constant for argument in part.arguments))
            if reason is not None:
                return f"{part} {reason}"
    return None


def _of_division(numerator: float | None, denominator: float | None) -> str | None:
    return "divides by 0" if denominator == 0 else None


def _of_power(base: float | None, exponent: float | None) -> str | None:
    if base is None or exponent is None:
        return None
    if base == 0 and exponent < 0:
        return "divides by 0"
    is_real = base >= 0 or exponent == int(exponent)
    return None if is_real else f"has no real value: {number_text(base)} to the power {number_text(exponent)}"


def _of_logarithm(value: float | None) -> str | None:
    return None if value is None or value > 0 else f"takes the logarithm of {number_text(value)}"


def _of_root(value: float | None) -> str | None:
    return None if value is None or value >= 0 else f"takes the square root of {number_text(value)}"


def _of_arc(value: float | None) -> str | None:
    return None if value is None or abs(value) <= 1 else f"has no real value at {number_text(value)}"


_REASONS: dict[str, _Reason] = {
    "div": _of_division,
    "pow": _of_power,
    "log": _of_logarithm,
    "log10": _of_logarithm,
    "sqrt": _of_root,
    "arccos": _of_arc,
}
