import pytest
from hypothesis import given

from lossearch.primitives.language.formula import Call, FormulaError, Name, Number, call
from lossearch.primitives.language.operators import FUNCTIONS, OPERATORS
from lossearch.primitives.language.parser import parse
from lossearch.primitives.language.shapes import Shape
from lossearch.primitives.language.terminals import TERMINALS
from tests.primitives.strategies import formulas


@given(formulas(max_leaves=30))
def test_text_reads_back_as_the_same_formula(formula):
    assert parse(str(formula)) == formula


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("1-(2-p)", "1 - (2 - p)"),
        ("(p-y)-z", "p - y - z"),
        ("p/(y*z)", "p/(y*z)"),
        ("-p**2", "-p**2"),
        ("(-p)**2", "(-p)**2"),
        ("(-2)**p", "(-2)**p"),
        ("-2**p", "-2**p"),
        ("p**-2", "p**-2"),
        ("2**p**y", "2**p**y"),
        ("(2**p)**y", "(2**p)**y"),
        ("p - -2", "p - (-2)"),
        ("p*-y", "p*(-y)"),
        ("1e3 + 0.50", "1000 + 0.5"),
    ],
)
def test_text_has_only_the_parentheses_it_needs(text, printed):
    assert str(parse(text)) == printed


def test_minus_a_number_is_a_number():
    assert parse("-2") == Number(-2.0) == call("neg", Number(2.0))
    assert parse("--2") == Number(2.0)


def test_sub_binds_to_the_left_and_power_to_the_right():
    assert parse("p - y - z") == call("sub", call("sub", Name("p"), Name("y")), Name("z"))
    assert parse("p**y**z") == call("pow", Name("p"), call("pow", Name("y"), Name("z")))


def test_shapes_broadcast_to_the_largest():
    assert parse("2*pi").shape is Shape.SCALAR
    assert parse("2*ce(z)").shape is Shape.SAMPLE
    assert parse("p + ce(z)").shape is Shape.CLASS
    assert parse("batch_mean(ce(z))").shape is Shape.SCALAR
    assert parse("softmax_c(z)").shape is Shape.CLASS


def test_batch_mean_of_a_value_per_class_is_refused():
    with pytest.raises(FormulaError, match="batch_mean takes a Sample value at most, got Class"):
        parse("batch_mean(p)")


def test_a_call_needs_the_number_of_arguments_of_its_operator():
    with pytest.raises(FormulaError, match="exp takes 1 argument"):
        Call("exp", (Name("p"), Name("y")))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e13])
def test_numbers_are_finite_and_bounded(value):
    with pytest.raises(FormulaError, match="Expected a number of magnitude at most"):
        Number(value)


def test_a_formula_is_found_again_after_being_pickled():
    import pickle

    formula = parse("ce(z) + 2*p")
    again = pickle.loads(pickle.dumps(formula))
    assert again == formula
    assert {formula: 1}[again] == 1


def test_binding_replaces_hyperparameters_and_leaves_terminals():
    formula = parse("m*y + p", ["m"])
    assert formula.hyperparameters == {"m"}
    assert str(formula.bind({"m": 0.5, "p": 3.0})) == "0.5*y + p"


def test_size_and_depth_count_nodes_and_levels():
    formula = parse("ce(z) + 2*p")
    assert (formula.size, formula.depth) == (6, 2)


def test_no_operator_has_a_terminals_name():
    assert not FUNCTIONS.keys() & TERMINALS.keys()
    assert FUNCTIONS.keys() | {"add", "sub", "mul", "div", "pow", "neg"} == OPERATORS.keys()


def test_the_vocabulary_equals_the_documented_one():
    functions = (
        "exp log log10 sqrt square abs sign floor sin cos tanh arctan arccos sigmoid softplus relu erf minimum "
        "maximum sum_c mean_c max_c lse_c at_target softmax_c log_softmax_c ce batch_mean detach"
    )
    assert FUNCTIONS.keys() == set(functions.split())
    terminals = "p y z cosine dist2 norm weight_norm prior num_classes progress pi"
    assert TERMINALS.keys() == set(terminals.split())


def test_formulas_print_as_their_text():
    assert [repr(parse(text)) for text in ("ce(z)", "z", "1.5")] == [
        "Formula('ce(z)')",
        "Formula('z')",
        "Formula('1.5')",
    ]
