"""Parser: reads the text of a formula and accepts nothing but the grammar of the language.

Invariant: no text is ever executed, and each limit is checked before the work that it bounds.

    sum      := product (("+" | "-") product)*
    product  := unary (("*" | "/") unary)*
    unary    := "-" unary | power
    power    := atom ("**" unary)?
    atom     := number | name | name "(" sum ("," sum)* ")" | "(" sum ")"
"""

import keyword
import re
from collections.abc import Callable, Collection
from typing import NamedTuple

from lossearch.primitives.errors import nearest, shown
from lossearch.primitives.language.formula import MAX_DEPTH, MAX_NODES, Formula, FormulaError, Name, Number, call
from lossearch.primitives.language.operators import FUNCTIONS
from lossearch.primitives.language.terminals import TERMINALS

MAX_LENGTH = 4_000
MAX_NAME = 60  # characters of a hyper-parameter's name
MAX_NESTING = 2 * MAX_DEPTH  # of parentheses and operators while reading

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<symbol>\*\*|[-+*/(),]))",
    re.ASCII,
)


#: What to write in place of a character that the language lacks.
_HINTS = {
    "^": "; a power is written **",
    "[": "; the value at the target class is written at_target(p), and a formula has no other index",
}


class _Token(NamedTuple):
    kind: str  # number, name, symbol or end
    text: str
    position: int


def parse(text: str, hyperparameters: Collection[str] = ()) -> Formula:
    """Read a formula over terminals and the given hyper-parameters.

    Raises FormulaError with the position, what was allowed, what was found and the nearest known name.
    """
    if not isinstance(text, str):
        raise FormulaError(f"Expected the text of a formula, got {type(text).__name__}.")
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"Expected a formula of at most {MAX_LENGTH} characters, got {len(text)}.")
    for name in hyperparameters:
        if not isinstance(name, str) or not valid_name(name):
            raise FormulaError(
                f"Expected the name of a hyper-parameter, a word of the letters a to z, digits and _ that the language "
                f"and Python do not have already, got {shown(repr(name))}."
            )
    formula = _Reader(text, hyperparameters).formula()
    if len(text) > MAX_LENGTH // 2 and len(str(formula)) > MAX_LENGTH:
        raise FormulaError(
            f"Expected a formula of at most {MAX_LENGTH} characters, got {len(str(formula))} as it prints."
        )
    return formula


def valid_name(name: str) -> bool:
    """Return True if a hyper-parameter may have this name."""
    plain = name.isascii() and name.isidentifier() and not name.startswith("_") and len(name) <= MAX_NAME
    return plain and not keyword.iskeyword(name) and name not in TERMINALS and name not in FUNCTIONS


class _Reader:
    """Reads a formula by recursive descent: one method for each rule of the grammar."""

    def __init__(self, text: str, hyperparameters: Collection[str]) -> None:
        self._text = text
        self._known = {*TERMINALS, *hyperparameters}
        self._tokens = _tokens(text)
        self._next = 0
        self._nesting = 0

    def formula(self) -> Formula:
        result = self._sum()
        if self._token.kind != "end":
            raise self._unexpected_token("an operator or the end")
        return result

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *symbols: str) -> str:
        """Take the next token if it is one of these symbols. Return its text, or the empty string."""
        if self._token.kind == "symbol" and self._token.text in symbols:
            self._next += 1
            return self._tokens[self._next - 1].text
        return ""

    def _sum(self) -> Formula:
        result = self._product()
        while symbol := self._take("+", "-"):
            result = self._call({"+": "add", "-": "sub"}[symbol], result, self._product())
        return result

    def _product(self) -> Formula:
        result = self._unary()
        while symbol := self._take("*", "/"):
            result = self._call({"*": "mul", "/": "div"}[symbol], result, self._unary())
        return result

    def _unary(self) -> Formula:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise self._error(self._token.position, f"nested more than {MAX_NESTING} levels deep")
        result = self._call("neg", self._unary()) if self._take("-") else self._power()
        self._nesting -= 1
        return result

    def _power(self) -> Formula:
        base = self._atom()
        return self._call("pow", base, self._unary()) if self._take("**") else base

    def _atom(self) -> Formula:
        token = self._token
        if self._take("("):
            return self._close(self._sum())
        if token.kind == "number":
            self._next += 1
            return self._build(token, lambda: Number(float(token.text)))
        if token.kind == "name":
            self._next += 1
            return self._function(token) if self._take("(") else self._name(token)
        raise self._unexpected_token("a number, a name or '('")

    def _name(self, token: _Token) -> Formula:
        if token.text in self._known:
            return Name(token.text)
        if token.text in FUNCTIONS:
            raise self._error(token.position, f"{token.text} is an operator: give its argument in parentheses")
        hint = nearest(token.text, self._known)
        if valid_name(token.text):
            hint = f"{hint.rstrip('?')}; a hyper-parameter needs a value, as {token.text}=1.0"
        raise self._error(token.position, f"unknown terminal or hyper-parameter '{shown(token.text)}'{hint}")

    def _function(self, token: _Token) -> Formula:
        if token.text not in FUNCTIONS:
            hint = nearest(token.text, FUNCTIONS)
            raise self._error(token.position, f"unknown operator '{shown(token.text)}'{hint}")
        arguments = [self._sum()]
        while self._take(","):
            arguments.append(self._sum())
        arity = FUNCTIONS[token.text].arity
        if len(arguments) != arity:
            raise self._error(token.position, f"{token.text} takes {arity} argument(s), got {len(arguments)}")
        return self._close(self._build(token, lambda: call(token.text, *arguments)))

    def _close(self, inner: Formula) -> Formula:
        if not self._take(")"):
            raise self._unexpected_token("an operator, ',' or ')'")
        return inner

    def _call(self, operator: str, *arguments: Formula) -> Formula:
        return self._build(self._tokens[self._next - 1], lambda: call(operator, *arguments))

    def _build(self, token: _Token, build: Callable[[], Formula]) -> Formula:
        """Build a node. Raises FormulaError with the position of the token that it comes from."""
        try:
            result = build()
        except FormulaError as error:
            raise self._error(token.position, str(error).rstrip(".")) from None
        if result.size > MAX_NODES:
            raise self._error(token.position, f"more than {MAX_NODES} nodes")
        if result.depth > MAX_DEPTH:
            raise self._error(token.position, f"more than {MAX_DEPTH} levels deep")
        return result

    def _unexpected_token(self, allowed: str) -> FormulaError:
        got = "the end" if self._token.kind == "end" else f"'{shown(self._token.text)}'"
        return self._error(self._token.position, f"expected {allowed}, got {got}")

    def _error(self, position: int, what: str) -> FormulaError:
        return _error_at(self._text, position, what)


def _error_at(text: str, position: int, what: str) -> FormulaError:
    """Return an error at a position of the text, with the text around it."""
    start = max(0, position - 20)
    excerpt = text[start : position + 20].encode("unicode_escape").decode("ascii")
    stop = "" if what.endswith("?") else "."
    return FormulaError(f"Position {position} of the formula, near '{excerpt}': {what}{stop}")


def _tokens(text: str) -> list[_Token]:
    tokens, position = [], 0
    stop = len(text.rstrip(" \t\r\n"))
    while position < stop:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            at = position + len(text[position:]) - len(text[position:].lstrip(" \t\r\n"))
            character = text[at].encode("unicode_escape").decode("ascii")
            hint = _HINTS.get(character, "")
            raise _error_at(
                text, at, f"expected a number, a name or one of + - * / ** ( ) , but got '{character}'{hint}"
            )
        tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        position = match.end()
    tokens.append(_Token("end", "", stop))
    return tokens
