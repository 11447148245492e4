"""LaTeX of a formula: its own tree in mathematical notation, nothing rewritten."""

from collections.abc import Callable

from lossearch.primitives.formula import Call, Formula, Name, Number, number_text

_SUM, _PRODUCT, _UNARY, _POWER, _ATOM = range(1, 6)

_NAMES = {"pi": r"\pi", "cosine": r"\cos\theta", "dist2": r"d^{2}", "num_classes": "C"}
_FUNCTIONS = {
    "exp": r"\exp",
    "log": r"\ln",
    "log10": r"\log_{10}",
    "sin": r"\sin",
    "cos": r"\cos",
    "tanh": r"\tanh",
    "arctan": r"\arctan",
    "arccos": r"\arccos",
    "minimum": r"\min",
    "maximum": r"\max",
    "sigmoid": r"\sigma",
    "ce": r"\mathrm{CE}",
}
_GREEK = frozenset({"alpha", "beta", "gamma", "delta", "lam", "mu", "sigma", "tau"})


def latex(formula: Formula) -> str:
    """The formula in LaTeX: what its text says, in the same order."""
    return _latex(formula)[0]


def _latex(formula: Formula) -> tuple[str, int]:
    """LaTeX of a formula, and how tightly its outermost operator binds."""
    if isinstance(formula, Number):
        return number_text(formula.value), _ATOM if formula.value >= 0 else _UNARY
    if isinstance(formula, Name):
        return _name(formula.name), _ATOM
    assert isinstance(formula, Call)
    if formula.operator in _WRITTEN:
        return _WRITTEN[formula.operator](*formula.arguments)
    function = _FUNCTIONS.get(formula.operator, rf"\operatorname{{{_escaped(formula.operator)}}}")
    arguments = ", ".join(latex(argument) for argument in formula.arguments)
    return rf"{function}\left({arguments}\right)", _ATOM


def _name(name: str) -> str:
    if name in _NAMES:
        return _NAMES[name]
    if name in _GREEK:
        return {"lam": r"\lambda"}.get(name, rf"\{name}")
    return name if len(name) == 1 else rf"\mathrm{{{_escaped(name)}}}"


def _escaped(name: str) -> str:
    return name.replace("_", r"\_")


def _enclosed(formula: Formula, at_least: int) -> str:
    text, binds = _latex(formula)
    return text if binds >= at_least else rf"\left({text}\right)"


def _right(formula: Formula, at_least: int) -> str:
    """A right operand, in parentheses also where it begins with a minus."""
    text = _enclosed(formula, at_least)
    return rf"\left({text}\right)" if text.startswith("-") else text


_WRITTEN: dict[str, Callable[..., tuple[str, int]]] = {
    "add": lambda x, y: (f"{_enclosed(x, _SUM)} + {_right(y, _PRODUCT)}", _SUM),
    "sub": lambda x, y: (f"{_enclosed(x, _SUM)} - {_right(y, _PRODUCT)}", _SUM),
    "mul": lambda x, y: (rf"{_enclosed(x, _PRODUCT)} \cdot {_right(y, _UNARY)}", _PRODUCT),
    "div": lambda x, y: (rf"\frac{{{latex(x)}}}{{{latex(y)}}}", _UNARY),
    "neg": lambda x: (f"-{_enclosed(x, _UNARY)}", _UNARY),
    "pow": lambda x, y: (f"{{{_enclosed(x, _ATOM)}}}^{{{latex(y)}}}", _POWER),
    "square": lambda x: (f"{{{_enclosed(x, _ATOM)}}}^{{2}}", _POWER),
    "sqrt": lambda x: (rf"\sqrt{{{latex(x)}}}", _ATOM),
    "abs": lambda x: (rf"\left|{latex(x)}\right|", _ATOM),
    "floor": lambda x: (rf"\left\lfloor {latex(x)} \right\rfloor", _ATOM),
    "sum_c": lambda x: (rf"\sum_{{c}} {_enclosed(x, _PRODUCT)}", _PRODUCT),
    "at_target": lambda x: (rf"\left[{latex(x)}\right]_{{y}}", _ATOM),
}
