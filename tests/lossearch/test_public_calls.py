"""Every public call refuses wrong arguments with an exception of lossearch, and takes numbers of numpy and paths."""

import inspect
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import lossearch
from lossearch.errors import LossearchError, UnknownRank, UserError, WrongType
from lossearch.results.leaderboard import Entry
from lossearch.runs.overrides import override
from tests.long_cases import long_unless
from tests.lossearch.small import SMALL, finished_run


class Odd:
    """A value that no call takes."""


ODD = Odd()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("calls") / "run")


def callables():
    """List the public functions and classes with valid first arguments; RUN stands for the directory of a run."""
    calls = {
        "Leaderboard": (lossearch.Leaderboard, ["RUN"]),
        "compare": (lossearch.compare, ["miniature"]),
        "explain": (lossearch.explain, ["RUN"]),
        "export": (lossearch.export, ["focal", "OUT"]),
        "fidelity": (lossearch.fidelity, [["digits"]]),
        "loss": (lossearch.loss, ["focal"]),
        "search": (lossearch.search, [SMALL]),
        "tune": (lossearch.tune, ["RUN"]),
        "verdict": (lossearch.verdict, ["RUN"]),
    }
    calls |= {f"plot.{name}": (getattr(lossearch.plot, name), ["RUN"]) for name in lossearch.plot.__all__}
    calls["plot.curve"] = (lossearch.plot.curve, ["focal"])
    calls |= {
        f"trackers.{name}": (getattr(lossearch.trackers, name), []) for name in ("MLflow", "TensorBoard", "WandB")
    }
    return calls


CALLS = callables()

#: Names of the public package that are no calls, or take no arguments.
PLAIN = {"Callback", "__version__", "errors", "losses", "plot", "tasks", "trackers"}

#: Arguments that their library checks when it starts.
FREE = {("trackers.WandB", "mode")}


def arguments():
    """Yield every argument of every public call."""
    for name, (function, _) in CALLS.items():
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is not parameter.VAR_KEYWORD and (name, parameter.name) not in FREE:
                yield name, parameter.name


def test_every_public_call_is_tried():
    assert {name for name in CALLS if "." not in name} | PLAIN == set(lossearch.__all__)


@pytest.mark.parametrize(("name", "argument"), list(arguments()))
def test_an_argument_of_another_type_is_refused_by_its_name(name, argument, run, tmp_path):
    function, given = CALLS[name]
    places = list(inspect.signature(function).parameters)
    words = [
        {"RUN": run.path, "OUT": tmp_path / "out.py"}.get(word, word) if isinstance(word, str) else word
        for word in given
    ]
    chosen = dict(zip(places, words, strict=False)) | {argument: ODD}
    with pytest.raises(WrongType, match="Odd") as caught:
        function(**chosen)
    assert_is_plain(caught.value)
    assert not (tmp_path / "out.py").exists()


#: Arguments without which a call that takes options of a loss does not look at them.
REQUIRED = {"export": ("loss", "path"), "loss": ("name_or_formula",)}


@pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name, argument in arguments() if argument not in REQUIRED.get(name, ())]
)
def test_an_unknown_argument_names_the_nearest(name, argument, tmp_path):
    function, _ = CALLS[name]
    given = {required: tmp_path / "a.py" if required == "path" else "focal" for required in REQUIRED.get(name, ())}
    with pytest.raises(UserError, match=rf"{argument}x.*; did you mean ([a-z_]+ or )*{argument}\b") as caught:
        function(**given, **{f"{argument}x": 1})
    assert_is_plain(caught.value)


def test_a_missing_argument_and_one_too_many_are_named(run):
    for call, message in (
        (lambda: lossearch.tune(), r"Expected an argument of tune, got none: 'run'\."),
        (lambda: lossearch.loss(), r"Expected an argument of loss, got none: 'name_or_formula'\."),
        (lambda: lossearch.plot.pareto(run, 1, 2), r"as in pareto\(run, top=3\), got too many positional arguments\."),
        (lambda: lossearch.losses(all=True), "all: unknown argument of losses, which takes none"),
        (lambda: run.leaderboard[0].export("a.py", froce=True), "unknown argument of Entry.export; did you mean force"),
        (lambda: run.leaderboard.best(rank=1), "rank: unknown argument of Leaderboard.best, which takes none"),
    ):
        with pytest.raises(WrongType, match=message) as caught:
            call()
        assert_is_plain(caught.value)


def test_public_calls_keep_their_signatures():
    parameters = inspect.signature(lossearch.tune).parameters
    assert list(parameters)[:3] == ["run", "top", "trials"]
    assert parameters["trials"].default == 20
    assert lossearch.tune.__doc__.startswith("Tune the ``top`` losses")
    assert list(inspect.signature(lossearch.Leaderboard).parameters) == ["path"]


def assert_is_plain(error):
    """Require a message for Python that says what was expected."""
    assert isinstance(error, LossearchError)
    assert isinstance(error, ValueError | TypeError)
    assert not re.search(r"--[a-z]|pydantic|validation error", str(error))


WRONG = [
    (lambda run: lossearch.tune(run, seeds="x"), "Expected seeds to be a whole number of 1 or more, got 'x'"),
    (lambda run: lossearch.tune(run, top=2.5), "Expected top to be a whole number of 1 or more, got 2.5"),
    (lambda run: lossearch.tune(run, trials=1), "Expected trials to be 2 or more, since the defaults are the first"),
    (lambda run: lossearch.tune(run, trials=math.nan), "Expected trials to be a whole number"),
    (lambda run: lossearch.tune(run, baselines="focal"), r"list of known losses, got 'focal'. Put it into a list"),
    (lambda run: lossearch.tune(run, baselines=["focal", "focal"]), "'focal' twice"),
    (lambda run: lossearch.tune(run, baselines=["focall"]), "did you mean focal"),
    (lambda run: lossearch.tune(run, executor="rya"), "Expected executor to be ray or inline, got 'rya'"),
    (lambda run: lossearch.tune(run / "gone"), "gone"),
    (lambda run: lossearch.verdict(run, seeds=-3), "Expected seeds to be 1 or more, got -3"),
    (lambda run: lossearch.verdict(run, tasks="shapes"), "Expected tasks to be a list of second tasks, got 'shapes'"),
    (lambda run: lossearch.verdict(run, network="mlpp"), "did you mean mlp"),
    (lambda run: lossearch.explain(run, seeds=0), "Expected seeds to be 1 or more, got 0"),
    (lambda run: lossearch.explain(run, rank=True), "Expected rank to be a whole number of 1 or more, got True"),
    (lambda run: lossearch.explain("focal"), "Give a task"),
    (lambda run: lossearch.explain("focal", task=run / "no_pictures"), "does not exist"),
    (lambda run: lossearch.explain("ce(z)\0", task="digits"), "Position|formula"),
    (lambda run: lossearch.fidelity("digits"), "Expected tasks to be a list of names or paths of tasks, got 'digits'"),
    (lambda run: lossearch.fidelity([]), "empty list"),
    (
        lambda run: lossearch.fidelity(["digits"], candidates=3),
        "candidates: .* equal to 10, got 3",
    ),
    (lambda run: lossearch.fidelity(["digits"], seed=-1), "seed: expected greater than or equal to 0, got -1"),
    (lambda run: lossearch.search(), "Expected an experiment or a task, got neither"),
    (lambda run: lossearch.search(task=[]), r"Expected task to be a name, a path or a list of them, got \[\]"),
    (lambda run: lossearch.search(task="digitz"), "did you mean digits"),
    (lambda run: lossearch.search("digitz"), "did you mean digits"),
    (
        lambda run: lossearch.search("digits", populaton=3),
        "populaton: unknown key of a search; did you mean population",
    ),
    (lambda run: lossearch.search("digits", rundir="x"), "rundir: unknown key of a search; did you mean run_dir"),
    (lambda run: lossearch.search("digits", population=math.nan), "population"),
    (lambda run: lossearch.search("digits", learning_rate=math.inf), "learning_rate"),
    (lambda run: lossearch.search("digits", evolution=3), "evolution: expected a dictionary of its keys, got 3"),
    (lambda run: lossearch.search("digits", callbacks=3), r"Expected callbacks to be a list, got 3"),
    (lambda run: lossearch.search("digits", callbacks=[lossearch.Callback]), "got the class Callback"),
    (lambda run: lossearch.search("digits", run_dir="a\0b"), "NUL"),
    (lambda run: lossearch.search("digits", run_dir="x" * 5_000), "too long"),
    (lambda run: lossearch.search("digits", seed=-1), "seed"),
    (lambda run: lossearch.compare(), r"Give tasks=\[...\]"),
    (lambda run: lossearch.compare(tasks=[], losses=["focal"]), "Expected tasks to be a list .* got an empty one"),
    (lambda run: lossearch.compare(tasks=["digits"], losses=[]), "Expected losses to be a list .* got an empty one"),
    (lambda run: lossearch.compare(tasks=["digits"], losses="focal"), r"got 'focal'. Put it into a list: \['focal'\]"),
    (lambda run: lossearch.compare(tasks=["digits"], losses=["focal", torch.nn.MSELoss()]), "got a MSELoss among them"),
    (lambda run: lossearch.compare(tasks=["digits"], losses=["focal", "focal"]), "'focal' twice"),
    (lambda run: lossearch.compare(tasks=["digits", "digits"], losses=["focal"]), "'digits' twice"),
    (lambda run: lossearch.compare(task="digits", losses=["focal"]), "did you mean tasks"),
    (lambda run: lossearch.compare(tasks=["digits"], losses=["focal"], seeds=math.nan), "seeds"),
    (lambda run: lossearch.compare(tasks=["digits"], losses=["focal"], measure="acuracy"), "did you mean accuracy"),
    (
        lambda run: lossearch.compare(tasks=["digits"], losses=["focal"], fidelity=3),
        "fidelity: expected a dictionary",
    ),
    (lambda run: lossearch.loss("focal", gamm=2), "focal has no hyper-parameter 'gamm'; did you mean gamma"),
    (lambda run: lossearch.loss("focal", reducton="sum"), "did you mean reduction"),
    (lambda run: lossearch.loss("ce(z)", reducton="sum"), "Did you mean reduction"),
    (lambda run: lossearch.loss("focal", gamma=np.nan), "finite number|between 0 and 5"),
    (lambda run: lossearch.loss("focal", weight="abc"), "weight"),
    (lambda run: lossearch.loss("focal", weight=[math.nan]), "weight"),
    (lambda run: lossearch.loss("logit_adjustment", prior=[-1.0, 2.0]), "prior"),
    (lambda run: lossearch.loss("arcface", num_classes="x", embedding_size=3), "num_classes"),
    (lambda run: lossearch.loss("arcface", num_classes=3, embedding_size=-1), "embedding_size"),
    (lambda run: lossearch.loss("arcface", num_classes=3, embedding_size=3, generator=1), "generator"),
    (lambda run: lossearch.plot.pareto(run, top=-1), "Expected top to be 0 or more, got -1"),
    (lambda run: lossearch.plot.course(run, what="los"), "Unknown what 'los'; did you mean loss"),
    (lambda run: lossearch.plot.family(run, rank=10**9), "Expected a rank from 1 to"),
    (lambda run: lossearch.plot.curve("focal", classes=1), "Expected classes to be 2 or more, got 1"),
    (lambda run: lossearch.Leaderboard(None), "Expected path to be the directory of a run, .* got None"),
    (lambda run: lossearch.Leaderboard(b"runs"), "Expected path"),
    (lambda run: lossearch.Leaderboard(""), "an empty one"),
    (lambda run: lossearch.Leaderboard("a\ud800"), "no text has"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_value_is_refused_with_what_was_expected(call, message, run):
    with pytest.raises(UserError, match=message) as caught:
        call(run.path)
    assert_is_plain(caught.value)


@pytest.mark.parametrize(
    ("use", "kind", "message"),
    [
        (lambda board: board["focall"], KeyError, "id"),
        (lambda board: board["crossentropy"], KeyError, "did you mean cross_entropy"),
        (lambda board: board[10**9], IndexError, "expected a place from 0 to"),
        (lambda board: board[1.5], TypeError, "got 1.5"),
        (lambda board: board[None], TypeError, "got None"),
        (lambda board: board["a":], TypeError, "slice"),
        (lambda board: board[0].loss(num_classes="x", embedding_size=4), ValueError, "num_classes"),
        (lambda board: board[0].loss(num_classes=3, embedding_size=4, scal=2.0), ValueError, "did you mean scale"),
        (lambda board: board[0].loss(num_classes=3, embedding_size=4, calibrated=3), TypeError, "calibrated"),
        (lambda board: board[0].export(3), TypeError, "Expected path"),
        (lambda board: board[0].export(board.path / "gone" / "a.py"), ValueError, "directory that exists"),
        (lambda board: board[0].export(board.path), ValueError, "the path of a file"),
    ],
)
def test_a_leaderboard_refuses_what_it_does_not_hold(use, kind, message, run):
    with pytest.raises(UserError, match=message) as caught:
        use(run.leaderboard)
    assert isinstance(caught.value, kind)
    assert_is_plain(caught.value)


def test_an_unknown_attribute_names_the_nearest():
    for use, message in (
        (lambda: lossearch.serch, "module 'lossearch' has no attribute 'serch'; did you mean search"),
        (lambda: lossearch.errors.UsrError, "did you mean UserError"),
        (lambda: lossearch.trackers.Tensorboard, "did you mean TensorBoard"),
    ):
        with pytest.raises(AttributeError, match=message):
            use()


def test_an_unknown_column_names_the_nearest(run):
    entry, name = run.leaderboard[0], "fitnes_mean"
    with pytest.raises(AttributeError, match="did you mean fitness_mean"):
        getattr(entry, name)
    assert not hasattr(run.leaderboard[0], "__array__")


def test_exceptions_are_what_python_expects():
    assert issubclass(WrongType, TypeError)
    assert issubclass(UnknownRank, IndexError)
    assert issubclass(lossearch.errors.MissingPackage, ImportError)


def test_numbers_of_numpy_and_paths_are_taken(run, tmp_path):
    np.savez(tmp_path / "mine.npz", inputs=np.random.default_rng(0).normal(size=(40, 3)), targets=np.arange(40) % 2)
    given = {"population": np.int64(7), "learning_rate": np.float32(0.5), "seeds": np.array(["focal"]), "steps": 9}
    keys = override({"name": "a"}, {**given, "task": tmp_path / "mine.npz"})
    assert keys["evolution"] == {"population": 7, "seeds": ["focal"]}
    assert type(keys["evolution"]["population"]) is int
    assert keys["data"] == {"mine": {"arrays": str(tmp_path / "mine.npz")}}
    assert lossearch.Leaderboard(run).path == lossearch.Leaderboard(run.leaderboard).path == run.path
    assert run.leaderboard[np.int64(0)].rank == 1
    assert lossearch.loss("arcface", num_classes=np.int64(3), embedding_size=np.int32(2)).weight.shape == (3, 2)


def test_a_run_stands_for_its_directory(run):
    with pytest.raises(UserError, match="trials to be 2 or more"):
        lossearch.tune(run, trials=1)
    figure = lossearch.plot.pareto(run)
    assert figure.data


def test_a_loss_over_logits_says_that_it_needs_no_sizes():
    with pytest.warns(UserWarning, match="focal is over logits and needs no num_classes"):
        loss = lossearch.loss("focal", num_classes=3)
    with pytest.raises(ValueError, match="Expected logits of 3 classes"):
        loss(torch.zeros(2, 4), torch.tensor([0, 1]))
    with pytest.warns(UserWarning, match="owns no class weights: embedding_size is ignored"):
        lossearch.loss("ce(z)", embedding_size=8)


@pytest.mark.parametrize("name", long_unless(["a.py", "a.pt2", "a.onnx"], short=["a.py"]))
def test_an_export_replaces_its_own_files_alone(name, tmp_path):
    path, sizes = tmp_path / name, {} if name == "a.py" else {"num_classes": 3}
    lossearch.export("focal", path, card=True, **sizes)
    lossearch.export("poly1", path, card=True, **sizes)  # replaces both files
    assert "poly1" in (tmp_path / f"{name}.md").read_text()
    path.write_text("work of days")
    with pytest.raises(UserError, match=r"did not write it\. Give another path, or replace it with force=True"):
        lossearch.export("focal", path, **sizes)
    assert path.read_text() == "work of days"
    lossearch.export("focal", path, force=True, **sizes)
    (tmp_path / f"{name}.md").write_text("# Notes")
    with pytest.raises(UserError, match="did not write it"):
        lossearch.export("focal", path, card=True, **sizes)


def test_an_entry_replaces_an_export_alone(run, tmp_path):
    path = run.leaderboard[0].export(tmp_path / "a.py")
    run.leaderboard[1].export(path)
    path.write_text("x = 1\n")
    with pytest.raises(UserError, match="did not write it"):
        run.leaderboard[0].export(path)
    run.leaderboard[0].export(path, force=True)
    (tmp_path / "b.py").touch()
    alone = Entry(replace(run.leaderboard[0].row), "run")
    assert alone.export(Path(tmp_path / "b.py")).read_text()
