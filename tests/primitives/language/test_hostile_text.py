"""Text from strangers is data: it is read as a formula or refused at once in a plain sentence, never executed."""

import builtins
import contextlib
import json
import subprocess
import sys
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossearch
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.errors import UserError
from lossearch.primitives.language.formula import Formula, FormulaError
from lossearch.primitives.language.operators import FUNCTIONS
from lossearch.primitives.language.parser import MAX_LENGTH, parse, valid_name
from lossearch.primitives.language.terminals import TERMINALS
from tests.primitives.strategies import formulas

MAX_MESSAGE = 400  # characters: some lines of a terminal, with every operator named
MAX_SECONDS = 0.050
MAX_BYTES = 20_000_000

HOSTILE = {
    # attributes, subscripts and the way from an object to its interpreter
    "attribute": "p.real",
    "attribute_of_a_number": "1.0.real",
    "attribute_of_a_call": "exp(p).numpy()",
    "class": "p.__class__",
    "subclasses": "().__class__.__bases__[0].__subclasses__()",
    "globals": "exp.__globals__",
    "dunder_name": "__builtins__",
    "dunder_call": "__import__('os')",
    "dunder_operator": "__add__(p, y)",
    "dunder_of_an_operator": "exp__class__(p)",
    "private_name": "_sum",
    "builtin": "eval(p)",
    "builtin_in_a_sum": "p + exec(y)",
    "subscript": "p[0]",
    "slice": "p[:, 0]",
    "braces": "{p: y}",
    # work without bound
    "power_tower": "9**9**9**9",
    "power_tower_of_ten": "10**10**10",
    "power_tower_in_parentheses": "((9**9)**9)**9",
    "exponent": "p**65",
    "exponent_below": "p**(-65)",
    "exponent_that_is_computed": "p**(8*8 + 1)",
    "exponent_with_pi": "p**(pi*64)",
    "exponent_of_a_million_digits_worth": "p**1e400",
    "powers_of_powers": "((z**64)**64)**64",
    "powers_of_powers_over_operators": "exp(sin(z**64)**64)**64",
    "squares": "square(" * 13 + "z" + ")" * 13,
    "constant_that_overflows": "1e12*1e12",
    "constant_that_overflows_in_a_function": "exp(exp(exp(1e12)))",
    "constants_to_fold": "+".join(["erf(1)"] * 120),
    # nesting
    "parentheses": "(" * 1_999 + "p" + ")" * 1_999,
    "parentheses_open": "(" * 4_000,
    "parentheses_close": "p" + ")" * 3_999,
    "minuses": "-" * 3_999 + "p",
    "minuses_spaced": "- " * 1_999 + "p",
    "calls": "exp(" * 660 + "p" + ")" * 660,
    "calls_open": "exp(" * 1_000,
    "calls_of_two": "minimum(p," * 360 + "p" + ")" * 360,
    "powers": "**".join(["p"] * 1_000),
    "powers_with_minuses": "p" + "**-p" * 900,
    "sum": "+".join(["p"] * 2_000),
    "sum_below_the_bound_on_nodes": "+".join(["p"] * 199),
    "products_and_parentheses": "(p*" * 900 + "p" + ")" * 900,
    "depth": "exp(" * 65 + "p" + ")" * 65,
    "arguments": "minimum(" + "p," * 1_900 + "p)",
    # look-alikes
    "cyrillic_letter": "\u0440 + y",
    "cyrillic_in_a_name": "c\u0435(z)",
    "greek_letter": "\u03c0*p",
    "full_width_letter": "\uff50 + y",
    "full_width_digit": "\uff12*p",
    "full_width_parentheses": "exp\uff08p\uff09",
    "arabic_digit": "\u0662*p",
    "superscript_digit": "p\u00b2",
    "minus_sign": "\u2212p",
    "dot_operator": "p\u22c5y",
    "ligature": "so\ufb01tplus(p)",
    "combining_accent": "p\u0301",
    "zero_width_space": "p\u200b + y",
    "zero_width_joiner": "c\u200de(z)",
    "zero_width_no_break_space": "\ufeffp",
    "no_break_space": "p\u00a0+ y",
    "line_separator": "p\u2028+ y",
    "right_to_left_override": "\u202ep + y",
    "right_to_left_mark": "p \u200f+ y",
    "isolate": "p \u2066+\u2069 y",
    "mathematical_letter": "\U0001d429 + y",
    "tag_characters": "p" + "\U000e0041" * 40,
    "emoji": "\U0001f600" * 40,
    "lone_surrogate": "p + \ud800",
    # control characters
    "null_byte": "p\x00",
    "null_byte_within": "ce\x00(z)",
    "escape": "\x1b[2Jp",
    "title_of_the_terminal": "p\x1b]0;owned\x07",
    "bell": "p\x07",
    "backspace": "p\x08\x08y",
    "delete": "p\x7f",
    "next_line": "p\x85+ y",
    "file_separator": "p\x1c+ y",
    # the rest of Python
    "comprehension": "[p for p in z]",
    "generator": "sum_c(p for p in z)",
    "lambda": "lambda: p",
    "lambda_that_is_called": "(lambda p: p)(z)",
    "walrus": "(p := y)",
    "assignment": "p = y",
    "format_string": "f'{p}'",
    "import": "import os",
    "import_from": "from os import system",
    "conditional": "p if y else z",
    "comparison": "p < y",
    "boolean": "p and y",
    "not": "not p",
    "await": "await p",
    "yield": "yield p",
    "ellipsis": "...",
    "floor_division": "p // y",
    "remainder": "p % y",
    "matrix_product": "p @ y",
    "bits": "p ^ y",
    "complement": "~p",
    "unary_plus": "+p",
    "shift": "p << 3",
    "decorator": "@p",
    "tuple": "p, y",
    "empty_tuple": "()",
    "semicolon": "p; y",
    "statements": "p\ny",
    "backslash": "p \\\n + y",
    "comment": "p # + y",
    "comment_alone": "# p",
    "single_quotes": "'p'",
    "double_quotes": '"p"',
    "docstring": '"""p"""',
    "end_of_a_docstring": 'p"""\nimport os\nr"""',
    "bytes": "b'p'",
    "backquotes": "`p`",
    "dollar": "$p",
    "template": "${p}",
    "braces_of_a_template": "{{p}}",
    "markup": "[bold]p[/bold]",
    "html": "<script>p</script>",
    "latex": r"\input{p}",
    "shell": "p; rm -rf /",
    "percent": "%s",
    "path": "../../p",
    # calls
    "keyword_argument": "minimum(p, y=z)",
    "star_argument": "minimum(*p)",
    "star_star_argument": "minimum(**p)",
    "no_argument": "exp()",
    "trailing_comma": "exp(p,)",
    "call_of_a_terminal": "p(y)",
    "call_of_a_call": "exp(p)(y)",
    "call_of_a_number": "2(p)",
    "product_without_a_sign": "2p",
    "operator_as_a_name": "exp",
    "infix_operator_by_name": "add(p, y)",
    # numbers
    "underscores": "1_000*p",
    "hexadecimal": "0x10*p",
    "octal": "0o17*p",
    "binary": "0b11*p",
    "imaginary": "1j*p",
    "exponent_too_large": "1e400",
    "exponent_far_too_large": "1e5000*p",
    "exponent_of_many_digits": "1e" + "9" * 3_990,
    "exponent_without_digits": "1e*p",
    "exponent_with_a_point": "1e1.5*p",
    "two_points": "1..2*p",
    "two_points_apart": "1.2.3*p",
    "point": ".",
    "nan": "nan*p",
    "inf": "inf*p",
    "minus_infinity": "-Infinity",
    "comma_as_a_point": "1,5*p",
    "ten_thousand_digits": "9" * 10_000,
    "ten_thousand_decimals": "0." + "9" * 10_000,
    "as_many_digits_as_fit": "9" * MAX_LENGTH,
    "above_the_largest": "1000000000001",
    # length
    "too_long_by_one": "p" + " " * MAX_LENGTH,
    "megabyte": "p" * 1_000_000,
    "megabyte_of_sums": "p+" * 500_000,
    "megabyte_of_parentheses": "(" * 1_000_000,
    "megabyte_of_minuses": "-" * 1_000_000,
    "megabyte_of_letters_beyond_ascii": "\u0436" * 1_000_000,
    "megabyte_of_null_bytes": "\x00" * 1_000_000,
    "nothing": "",
    "spaces": " " * MAX_LENGTH,
    "spaces_and_a_question_mark": " " * (MAX_LENGTH - 1) + "?",
}

# Words that are as long as a text may be.
LONG = {
    "long_name": "x" * MAX_LENGTH,
    "long_name_like_a_known_one": "cosine" * 660,
    "long_operator": "exp" * 1_300 + "(p)",
    "long_name_where_none_belongs": "p " + "q" * 3_990,
    "long_number_where_none_belongs": "p " + "9" * 3_990,
}

EACH = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
EACH_LONG = pytest.mark.parametrize("text", LONG.values(), ids=LONG)
ALL = pytest.mark.parametrize("text", [*HOSTILE.values(), *LONG.values()], ids=[*HOSTILE, *LONG])


def refusal(text, *hyperparameters):
    with pytest.raises(FormulaError) as error:
        parse(text, *hyperparameters)
    return str(error.value)


def plain(message):
    """Return True if a message can be printed anywhere: it is short ASCII without control characters."""
    return len(message) <= MAX_MESSAGE and message.isascii() and message.isprintable()


def cpu_seconds(text):
    """Measure the CPU seconds that this process takes to refuse a text."""
    started = time.thread_time()
    with contextlib.suppress(FormulaError):
        parse(text)
    return time.thread_time() - started


@EACH
def test_hostile_text_is_refused_with_a_position_or_a_limit_in_a_plain_message(text):
    message = refusal(text)
    assert plain(message)
    assert message.startswith(("Position ", "Expected a formula "))


@ALL
def test_hostile_text_is_refused_within_fifty_milliseconds(text):
    refusal(text)  # warms up
    assert min(cpu_seconds(text) for _ in range(3)) < MAX_SECONDS


@ALL
def test_hostile_text_is_refused_within_twenty_megabytes(text):
    refusal(text)
    tracemalloc.start()
    try:
        refusal(text)
        assert tracemalloc.get_traced_memory()[1] < MAX_BYTES
    finally:
        tracemalloc.stop()


@EACH
def test_a_loss_of_hostile_text_is_refused_with_a_plain_message(text):
    with pytest.raises(UserError) as error:
        lossearch.loss(text)
    if not valid_name(text):  # else the name of a loss: below
        assert plain(str(error.value))


@EACH_LONG
def test_a_long_word_is_refused_in_a_short_message(text):
    assert plain(refusal(text))


@pytest.mark.parametrize("text", ["x" * 4_000, "x" * 1_000_000], ids=["long", "megabyte"])
def test_a_long_name_of_a_loss_is_refused_in_a_short_message(text):
    with pytest.raises(UserError) as error:
        lossearch.loss(text)
    assert plain(str(error.value))


# Trees that are as deep as the bounds on nesting and on nodes allow together.
DEEP = {
    "minuses_and_a_sum": "-" * 126 + "(" + "+".join(["p"] * 136) + ")",
    "calls_and_a_sum": "exp(" * 126 + "+".join(["p"] * 136) + ")" * 126,
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_a_deep_tree_is_refused_before_the_stack_ends(text):
    assert plain(refusal(text))


def test_a_formula_with_too_long_a_text_is_refused_or_reads_back():
    """1e12 is printed with thirteen digits: the text grows, and its limit holds for what is read again."""
    terms = "+".join(["log_softmax_c(1e12)"] * 44)
    try:
        formula = parse(f"{terms}+({terms})+({terms})")
    except FormulaError:
        return
    assert parse(str(formula)) == formula


# Nothing is executed.


def executing(canary):
    """Make texts that would write the file, or import the module canary_of_the_parser, if anything ran them."""
    write = f"open({str(canary)!r}, 'w').write('x')"
    module = "canary_of_the_parser"
    return [
        write,
        f"p + {write}",
        f"exp({write})",
        f"(lambda: {write})()",
        f"[{write} for _ in (1,)]",
        f"p if {write} else y",
        f"f'{{{write}}}'",
        f"__import__('{module}')",
        f"import {module}",
        f"p\nimport {module}",
        f"p; import {module}",
        f"__import__('importlib').import_module('{module}')",
        f"exec('import {module}')",
        f"eval(compile('import {module}', '', 'exec'))",
        f"().__class__.__base__.__subclasses__()[0]({write})",
        f"!!python/object/apply:os.system ['touch {canary}']",
        f"cos\nsystem\n(S'touch {canary}'\ntR.",  # a pickle of protocol 0
        f"`touch {canary}`",
        f"$(touch {canary})",
        f"p #{write}",
        f"minimum(p, key={write})",
    ]


def test_nothing_in_a_text_is_executed(tmp_path, monkeypatch):
    canary = tmp_path / "canary"
    (tmp_path / "canary_of_the_parser.py").write_text(f"open({str(canary)!r}, 'w').write('x')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for text in executing(canary):
        refusal(text)
        with pytest.raises(UserError):
            lossearch.loss(text)
    assert not canary.exists()
    assert "canary_of_the_parser" not in sys.modules


def test_reading_calls_neither_eval_nor_exec_nor_compile(monkeypatch):
    def forbidden(*arguments, **options):
        raise AssertionError("a text was to be run")

    parse("exp(2)**3")  # computing with numbers loads torch
    with pytest.raises(FormulaError):
        parse("\u0436")  # loads the codec of the messages
    outcomes = set()
    with monkeypatch.context() as patched:
        for name in ("eval", "exec", "compile", "open", "__import__"):  # the last: patching imports
            patched.setattr(builtins, name, forbidden)
        for text in [*HOSTILE.values(), *LONG.values()]:
            try:
                outcomes.add(type(parse(text)))
            except Exception as error:  # asserted on below, with the builtins back
                outcomes.add(type(error))
    assert outcomes == {FormulaError}


AUDITED = """
import json, sys
from lossearch.primitives.language.formula import FormulaError
from lossearch.primitives.language.parser import parse
events, watching = [], False
def hook(event, arguments):
    if watching:
        events.append(event)
sys.addaudithook(hook)
def read(text):
    try:
        parse(text)
    except FormulaError:
        pass
read("\\u0436")  # loads the codec of the messages
read("exp(2)**3")  # computing with numbers loads torch
texts = json.load(sys.stdin)
watching = True
for text in texts:
    read(text)
watching = False
print(json.dumps([len(texts), sorted(set(events))]))
"""


def test_the_interpreter_itself_sees_no_import_no_file_no_process_and_no_compilation(tmp_path):
    """By its audit events (PEP 578), which no code can avoid raising."""
    texts = [
        *HOSTILE.values(),
        *LONG.values(),
        *executing(tmp_path / "canary"),
        *(str(loss.formula) for loss in CATALOG.values()),
    ]
    process = subprocess.run(
        [sys.executable, "-c", AUDITED], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    assert json.loads(process.stdout) == [len(texts), []]


# Objects that are no text.


class Loaded:
    """An object that records requests for its text."""

    def __init__(self):
        self.asked = []

    def __str__(self):
        self.asked.append("str")
        return "p"

    def __repr__(self):
        self.asked.append("repr")
        return "p"

    def __len__(self):
        self.asked.append("len")
        return 1

    def __iter__(self):
        self.asked.append("iter")
        return iter("p")

    def __format__(self, specification):
        self.asked.append("format")
        return "p"


@pytest.mark.parametrize(
    "thing", [b"p", bytearray(b"p"), None, 3, 1.5, 1j, True, ["p"], ("p",), {"p": 1}, object(), str, len, parse]
)
def test_an_object_that_is_no_text_is_refused_by_its_type(thing):
    message = refusal(thing)
    assert message == f"Expected the text of a formula, got {type(thing).__name__}."
    with pytest.raises(UserError):
        lossearch.loss(thing)


def test_an_object_is_not_asked_for_its_text():
    thing = Loaded()
    refusal(thing)
    with pytest.raises(UserError):
        lossearch.loss(thing)
    assert thing.asked == []


# Names of hyper-parameters.

NAMES = {
    "dunder": "__class__",
    "private": "_x",
    "terminal": "p",
    "operator": "exp",
    "call": "exp(p)",
    "dotted": "os.system",
    "spaced": "a b",
    "empty": "",
    "digit_first": "1a",
    "quote": "a'",
    "end_of_a_docstring": 'a"""',
}
UNPRINTABLE = {
    "newline": "a\n",
    "escape": "\x1b[2J",
    "null_byte": "a\x00",
    "cyrillic": "\u0430",
    "full_width": "\uff41",
    "zero_width": "a\u200b",
    "right_to_left": "\u202ea",
}
EACH_NAME = pytest.mark.parametrize("name", [*NAMES.values(), *UNPRINTABLE.values()], ids=[*NAMES, *UNPRINTABLE])


@EACH_NAME
def test_a_loss_refuses_a_hostile_name_of_a_hyperparameter(name):
    assert not valid_name(name)
    with pytest.raises(UserError, match="Expected the name of a hyper-parameter") as error:
        lossearch.loss("ce(z)", **{name: 1.0})
    assert len(str(error.value)) <= MAX_MESSAGE
    assert str(error.value).isprintable()


@EACH_NAME
def test_the_parser_refuses_a_hostile_name_of_a_hyperparameter_whatever_the_formula(name):
    message = refusal("exp(p) + ce(z)", [name])
    assert "Expected the name of a hyper-parameter" in message
    assert plain(message)


@pytest.mark.parametrize("name", ["lambda", "None", "class", "import", "x" * 1_000, 3, None])
def test_a_word_that_cannot_be_a_python_argument_is_no_name(name):
    assert "Expected the name of a hyper-parameter" in refusal("ce(z)", [name])


def test_a_keyword_of_python_is_unknown_where_it_is_not_given():
    assert "unknown terminal or hyper-parameter 'lambda'" in refusal("ce(z) + lambda*p")


# Fuzzing.

WORDS = [*sorted(FUNCTIONS), *sorted(TERMINALS), "m", "eps"]
PIECES = [*WORDS, *"+-*/(),", "**", "0", "1", "64", "1e12", "1e-300", ".5", "2.", " ", "\n", "--", "(-"]
STRANGE = ["\x00", "\x1b", "\u200b", "\u202e", "\u0440", "\uff11", "_", ".", "'", '"', "#", ";", "=", "[", "\\", "e9"]
FUZZING = settings(max_examples=200)


def read_or_refused(text):
    """Require that a text reads back as itself, or is refused in words that can be printed."""
    try:
        formula = parse(text, ["m", "eps"])
    except FormulaError as error:
        message = str(error)
    else:
        assert isinstance(formula, Formula)
        assert parse(str(formula), ["m", "eps"]) == formula
        return
    assert message.isascii()
    assert message.isprintable()


@given(st.text(max_size=200))
@FUZZING
def test_any_text_is_read_or_refused(text):
    read_or_refused(text)


@given(st.text(alphabet="pyzm01.e+-*/(), \n", max_size=60))
@FUZZING
def test_any_text_in_the_letters_of_the_grammar_is_read_or_refused(text):
    read_or_refused(text)


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
@FUZZING
def test_any_text_in_the_words_of_the_grammar_is_read_or_refused(text):
    read_or_refused(text)


@st.composite
def mutations(draw):
    """Return the text of a formula with a few pieces deleted, doubled, replaced or put in."""
    known = st.sampled_from([str(loss.formula) for loss in CATALOG.values()])
    text = draw(st.one_of(known, formulas(max_leaves=12).map(str)))
    for _ in range(draw(st.integers(1, 4))):
        start, stop = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        piece = draw(st.sampled_from([*PIECES, *STRANGE, text[start:stop], ""]))
        text = text[:start] + piece + text[draw(st.sampled_from([start, stop])) :]
    return text


@given(mutations())
@FUZZING
def test_a_formula_with_a_few_changes_is_read_or_refused(text):
    read_or_refused(text)


@given(st.sampled_from([piece for piece in PIECES if piece.strip()]), st.integers(1, 5_000), st.text(max_size=3))
@settings(max_examples=100)
def test_any_repetition_is_read_or_refused(piece, times, end):
    read_or_refused(piece * times + end)
