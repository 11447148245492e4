"""``lossearch.export``: names, formulas, modules and entries of a leaderboard, in every format."""

import pytest
import torch

import lossearch
from lossearch.trial import load_exported
from results.leaderboard import Leaderboard
from tests.lossearch.small import run_search


def batch(width=4):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, width, generator=generator), torch.tensor([0, 1, 2, 3, 1])


def test_a_name_with_hyperparameters(tmp_path):
    path = lossearch.export("focal", tmp_path / "focal.py", gamma=0.5)
    torch.testing.assert_close(load_exported(path).Loss()(*batch()), lossearch.loss("focal", gamma=0.5)(*batch()))


def test_an_alias_and_a_formula(tmp_path):
    alias = lossearch.export("cosface", tmp_path / "a.py")
    assert "am_softmax" in alias.read_text()
    own = lossearch.export("ce(z) + e*mean_c(p)", tmp_path / "b.py", e=0.25)
    loss = load_exported(own).Loss(e=0.5)
    torch.testing.assert_close(loss(*batch()), lossearch.loss("ce(z) + e*mean_c(p)", e=0.5)(*batch()))


def test_a_trained_module_keeps_its_class_weights_in_a_graph(tmp_path):
    module = lossearch.loss("arcface", num_classes=4, embedding_size=3)
    path = lossearch.export(module, tmp_path / "loss.pt2")
    torch.testing.assert_close(torch.export.load(path).module()(*batch(3)), module(*batch(3)))


def test_a_loss_with_a_prior_is_exported_as_a_graph_from_its_module(tmp_path):
    module = lossearch.loss("logit_adjustment", prior=[0.4, 0.3, 0.2, 0.1])
    path = lossearch.export(module, tmp_path / "loss.pt2", num_classes=4)
    torch.testing.assert_close(torch.export.load(path).module()(*batch()), module(*batch()))


def test_an_entry_of_a_leaderboard_with_its_card(tmp_path):
    run_search(tmp_path / "run")
    entry = Leaderboard(tmp_path / "run")[0]
    path = lossearch.export(entry, tmp_path / "best.py", card=True)
    card = (tmp_path / "best.py.md").read_text()
    assert entry.loss_id in card
    assert "Under seeds that the search did not use, on the same split: accuracy" in card
    assert "(450 samples)" in card
    assert "under 6 fresh seeds" in path.read_text()
    exported, own = load_exported(path).Loss, entry.loss(num_classes=4, embedding_size=4)
    assert exported.calibration == entry.calibration
    if not entry.formula.looks_at_embeddings:
        torch.testing.assert_close(exported()(*batch()), own(*batch()))


@pytest.mark.parametrize(
    ("loss", "path", "options", "message"),
    [
        ("focl", "x.py", {}, "Unknown loss 'focl'; did you mean focal"),
        ("focal", "x.py", {"gama": 1.0}, "focal has no hyper-parameter 'gama'; did you mean gamma"),
        ("focal", "x.py", {"gamma": 99.0}, "Expected gamma between 0 and 5, got 99"),
        ("ce(z", "x.py", {}, "Position 4 of the formula"),
        ("ce(z) + m", "x.py", {"m": "a"}, "Expected m to be a finite number, got 'a'"),
        ("ce(z)", "x.py", {"m": 1.0}, "The formula has no hyper-parameter 'm'"),
        ("focal", "x", {}, "Expected a path that ends in .py, .onnx, .pt2"),
        ("focal", "x.py", {"format": "script"}, "Unknown format 'script'"),
        ("focal", "x.pt2", {}, "Expected num_classes=..., a whole number above 0, for the format pt2, got None"),
        ("ce(z) + m", "x.py", {"m": float("nan")}, "Expected m to be a finite number, got nan"),
        ("ce(z)", "x.py", {"reduction": "avg"}, "Expected reduction to be mean, sum or none"),
        ("focal", "x.py", {"format": "onnx"}, "Expected a path that ends in .onnx, as the format, got"),
        ("focal", "x.py", {"num_classes": 3}, "Expected num_classes for a graph alone"),
        ("focal", "x.py", {"weight": [1.0, 2.0]}, "Expected weight for a graph alone"),
        (
            "focal",
            "x.pt2",
            {"num_classes": 3, "embedding_size": 3},
            "Expected embedding_size for a loss over embeddings",
        ),
        (
            "focal",
            "x.pt2",
            {"num_classes": 3, "weight": [1.0, 2.0]},
            "Expected weight of shape .3., one number for each",
        ),
        ("arcface", "x.py", {"class_weights": "pedc"}, "Unknown class_weights 'pedc'; did you mean pedcc"),
        ("focal", "x.pt2", {"num_classes": -2}, "got -2: a graph has a fixed number of classes"),
        (3, "x.py", {}, "Expected the name of a loss, a formula, a loss module or an entry of a leaderboard, got int"),
        (torch.nn.CrossEntropyLoss(), "x.py", {}, "got CrossEntropyLoss"),
    ],
)
def test_mistakes_are_refused_and_nothing_is_written(loss, path, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        lossearch.export(loss, tmp_path / path, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "trial",
    [
        '{"difference": 0.1}',
        "3",
        '{"fitness": "<b>", "cross_entropy": 1, "difference": 1, "difference_std": 1, "seeds": 1}',
        '{"fitness": 1, "cross_entropy": 1, "difference": 1, "difference_std": 1, "seeds": 0}',
    ],
)
def test_a_strangers_log_makes_no_trial(trial, tmp_path):
    run_search(tmp_path / "run")
    entry = Leaderboard(tmp_path / "run")[0]
    (tmp_path / "run" / "log.jsonl").write_text(f'not json\n{{"best": "{entry.loss_id}", "trial": {trial}}}\n')
    lossearch.export(entry, tmp_path / "best.py", card=True)
    assert "It was not trained again under fresh seeds." in (tmp_path / "best.py.md").read_text()


def test_options_and_sizes_beside_a_module_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Expected options beside a name, a formula or an entry, got gamma"):
        lossearch.export(lossearch.loss("focal"), tmp_path / "x.py", gamma=1.0)
    module = lossearch.loss("arcface", num_classes=4, embedding_size=3)
    with pytest.raises(ValueError, match="Expected embedding_size 3, the module's, got 5"):
        lossearch.export(module, tmp_path / "x.pt2", embedding_size=5)
    weighted = lossearch.loss("focal", weight=[1.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="Expected a loss over 2 classes"):
        lossearch.export(weighted, tmp_path / "x.pt2", num_classes=2)


def test_random_class_weights_of_a_graph_are_warned_of(tmp_path):
    with pytest.warns(UserWarning, match="The class weights of the graph are random"):
        lossearch.export("arcface", tmp_path / "x.pt2", num_classes=4, embedding_size=3)
    fixed = lossearch.export("arcface", tmp_path / "y.pt2", num_classes=4, embedding_size=3, class_weights="pedcc")
    module = lossearch.loss("arcface", num_classes=4, embedding_size=3, class_weights="pedcc")
    torch.testing.assert_close(torch.export.load(fixed).module()(*batch(3)), module(*batch(3)))


def test_options_become_defaults_of_the_file(tmp_path):
    path = lossearch.export("arcface", tmp_path / "x.py", class_weights="pedcc", fine_tune_from=0.5, reduction="sum")
    exported = load_exported(path).Loss(4, 3)
    module = lossearch.loss(
        "arcface", num_classes=4, embedding_size=3, class_weights="pedcc", fine_tune_from=0.5, reduction="sum"
    )
    torch.testing.assert_close(exported(*batch(3)), module(*batch(3)))
    assert exported.fine_tune_from == 0.5


def test_hyperparameters_of_an_entry_are_those_of_its_file(tmp_path):
    run_search(tmp_path / "run")
    entry = next(each for each in Leaderboard(tmp_path / "run") if each.name == "am_softmax")
    assert load_exported(lossearch.export(entry, tmp_path / "a.py", m=0.2)).Loss(4, 3).m == 0.2
    with pytest.raises(ValueError, match="The loss has no hyper-parameter 'q'; known: m, s"):
        lossearch.export(entry, tmp_path / "b.py", q=0.2)


def test_a_graph_says_what_it_is(tmp_path):
    import json

    import onnx

    model = onnx.load(lossearch.export("focal", tmp_path / "x.onnx", num_classes=4, gamma=0.5))
    facts = {each.key: each.value for each in model.metadata_props}
    assert facts["Loss"] == "focal"
    assert facts["Hyper-parameters"] == "alpha = 1, gamma = 0.5"
    assert "Lin et al." in facts["Source"]
    assert model.producer_name == "lossearch"
    files = {"lossearch.json": ""}
    torch.export.load(lossearch.export("focal", tmp_path / "x.pt2", num_classes=4), extra_files=files)
    assert json.loads(files["lossearch.json"])["Formula"] == str(lossearch.loss("focal").formula)
