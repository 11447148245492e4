"""``lossearch.loss`` and the public names of the package."""

import subprocess
import sys
from importlib.metadata import version

import pytest
import torch
import torch.nn.functional as F

import lossearch
from tests.long_cases import long_unless


def test_the_public_names_are_listed():
    functions = ["compare", "explain", "export", "fidelity", "loss", "losses", "search", "tasks", "tune", "verdict"]
    assert set(dir(lossearch)) == {"Callback", "Leaderboard", "__version__", "errors", "plot", "trackers", *functions}
    assert all(callable(getattr(lossearch, name)) for name in ("Callback", *functions))
    assert callable(lossearch.plot.pareto)
    assert lossearch.__version__ == version("lossearch")
    with pytest.raises(AttributeError, match="has no attribute 'losss'"):
        lossearch.losss  # noqa: B018


@pytest.mark.parametrize(
    "program",
    long_unless(
        [
            "import lossearch; a = lossearch.search; b = lossearch.search",
            "from lossearch import search as a; from lossearch import search as b",
            "import lossearch.exporting, lossearch; a = lossearch.export; b = lossearch.export",
            "import lossearch.engine.launch, lossearch.engine.search_loop, lossearch; "
            "a = lossearch.search; b = lossearch.loss",
        ],
        short=lambda program: program.startswith("import lossearch.engine"),
    ),
)
def test_public_functions_are_functions_after_every_way_of_importing(program):
    check = "; assert callable(a) and callable(b)"
    subprocess.run([sys.executable, "-c", program + check], check=True)


def test_a_known_loss_is_made_by_name():
    loss = lossearch.loss("focal", gamma=0.0)
    logits, target = torch.tensor([[0.3, 0.1], [2.0, 1.0]]), torch.tensor([0, 1])
    torch.testing.assert_close(loss(logits, target), F.cross_entropy(logits, target))
    assert "gamma=0" in repr(loss)


def test_an_embedding_loss_is_made_by_name():
    loss = lossearch.loss("am_softmax", num_classes=100, embedding_size=16, m=0.2)
    assert loss.weight.shape == (100, 16)
    assert loss(torch.randn(3, 16), torch.tensor([0, 1, 99])).ndim == 0


def test_any_formula_takes_hyperparameters():
    loss = lossearch.loss("ce(z) + eps*(1 - at_target(p))", eps=1.0, reduction="none")
    logits, target = torch.tensor([[0.3, 0.1], [2.0, 1.0]]), torch.tensor([0, 1])
    torch.testing.assert_close(loss(logits, target), lossearch.loss("poly1", reduction="none")(logits, target))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fokal", {}, "Unknown loss 'fokal'; did you mean focal"),
        ("ce(z", {}, "Position 4 of the formula"),
        ("ce(z) + eps", {}, "unknown terminal or hyper-parameter 'eps'"),
        ("ce(z)", {"eps": 1.0}, "The formula has no hyper-parameter 'eps'"),
        ("ce(z) + eps", {"eps": "x"}, "Expected eps to be a finite number, got 'x'"),
        ("ce(z) + p", {"p": 2.0}, "Expected the name of a hyper-parameter, got 'p'"),
        ("am_softmax", {}, "Expected num_classes"),
        ("", {}, "Position 0 of the formula"),
        (3, {}, "Expected the name of a loss or a formula, got int"),
    ],
)
def test_mistakes_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        lossearch.loss(name, **options)


def test_a_formula_over_class_weights_alone_is_a_loss():
    loss = lossearch.loss("ce(weight_norm*y)", num_classes=3, embedding_size=2)
    loss(torch.randn(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    assert torch.isfinite(loss.weight.grad).all()
    assert loss.weight.grad.abs().sum() > 0.0
