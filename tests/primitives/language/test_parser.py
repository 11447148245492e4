import gc
import time

import pytest

from lossearch.primitives.language.formula import FormulaError
from lossearch.primitives.language.parser import MAX_LENGTH, parse, valid_name


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("p + cosin", 4, "unknown terminal or hyper-parameter 'cosin'; did you mean cosine"),
        ("sofplus(p)", 0, "unknown operator 'sofplus'; did you mean softplus"),
        ("p +", 3, r"expected a number, a name or '\(', got the end"),
        ("(p", 2, r"expected an operator, ',' or '\)', got the end"),
        ("p p", 2, "expected an operator or the end, got 'p'"),
        ("p ? y", 2, "expected a number, a name or one of"),
        ("minimum(p)", 0, r"minimum takes 2 argument\(s\), got 1"),
        ("exp", 0, "exp is an operator: give its argument in parentheses"),
        ("p**65", 3, "Expected an exponent between"),
        ("1e999", 0, "Expected a number of magnitude"),
        ("", 0, r"expected a number, a name or '\(', got the end"),
    ],
)
def test_an_error_names_the_position_and_what_is_allowed(text, position, message):
    with pytest.raises(FormulaError, match=message) as error:
        parse(text)
    assert str(error.value).startswith(f"Position {position} of the formula")


HOSTILE = [
    "__import__('os').system('true')",
    "().__class__.__bases__[0].__subclasses__()",
    "p.__class__",
    "eval(p)",
    "lambda: p",
    "[p for p in z]",
    "p if y else z",
    "p; y",
    "p\x00",
    "ｐ + y",  # full-width letter  # noqa: RUF001
    "р + y",  # Cyrillic letter  # noqa: RUF001
    "9**9**9**9",
    "((((2*p)**64)**64)**64)**64",
    "square(square(square(square(square(p**64)**2)**2)**2)**2)",
    "0x10*p",
    "1_000*p",
    "1j*p",
    "'p'",
    'f"{p}"',
    "(" * 2_000 + "p" + ")" * 1_999,
    "-" * 3_000 + "p",
    "exp(" * 900 + "p" + ")" * 900,
    "+".join(["p"] * 1_900),
    "**".join(["p"] * 1_000),
    "p" * 3_999,
    "9" * 3_999,
    "p" * (MAX_LENGTH + 1),
    "\u202ep",
    "p\n\n\x1b[2J",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_refused_at_once_with_a_plain_message(text):
    gc.disable()  # a collection would walk the objects of other tests
    try:
        started = time.thread_time()  # of this thread: Ray may have others in the process
        with pytest.raises(FormulaError) as error:
            parse(text)
        seconds = time.thread_time() - started
    finally:
        gc.enable()
    assert seconds < 0.5  # they take milliseconds; unbounded work takes longer
    assert str(error.value).isascii()
    assert str(error.value).isprintable()


def test_other_objects_are_refused():
    with pytest.raises(FormulaError, match="Expected the text of a formula, got int"):
        parse(3)


def test_only_given_hyperparameters_are_known():
    assert str(parse("ce(z) + eps*p", ["eps"])) == "ce(z) + eps*p"
    with pytest.raises(FormulaError, match="'eps'"):
        parse("ce(z) + eps*p")


@pytest.mark.parametrize("name", ["p", "exp", "_x", "a b", "", "1a", "é"])
def test_invalid_names_of_hyperparameters_are_refused(name):
    assert not valid_name(name)


@pytest.mark.parametrize("text", ["-log(p[y])", "log(p[target]) + 1"])
def test_an_index_is_answered_with_the_operator_that_the_language_has(text):
    with pytest.raises(FormulaError, match=r"got '\['; the value at the target class is written at_target\(p\)"):
        parse(text)
