"""``lossearch.export``: names, formulas, modules and entries of a leaderboard, in every format."""

import pytest
import torch

import lossearch
from lossearch.engine.export_check import load_exported
from lossearch.results.leaderboard import Leaderboard
from tests.lossearch.small import finished_run


def batch(width=4):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, width, generator=generator), torch.tensor([0, 1, 2, 3, 1])


def test_a_name_takes_hyperparameters(tmp_path):
    path = lossearch.export("focal", tmp_path / "focal.py", gamma=0.5)
    torch.testing.assert_close(load_exported(path).Loss()(*batch()), lossearch.loss("focal", gamma=0.5)(*batch()))


def test_aliases_and_formulas_are_exported(tmp_path):
    alias = lossearch.export("cosface", tmp_path / "a.py")
    assert "am_softmax" in alias.read_text()
    of_formula = lossearch.export("ce(z) + e*mean_c(p)", tmp_path / "b.py", e=0.25)
    loss = load_exported(of_formula).Loss(e=0.5)
    torch.testing.assert_close(loss(*batch()), lossearch.loss("ce(z) + e*mean_c(p)", e=0.5)(*batch()))


def test_a_trained_module_keeps_its_class_weights_in_a_graph(tmp_path):
    module = lossearch.loss("arcface", num_classes=4, embedding_size=3)
    path = lossearch.export(module, tmp_path / "loss.pt2")
    torch.testing.assert_close(torch.export.load(path).module()(*batch(3)), module(*batch(3)))


def test_a_loss_with_a_prior_is_exported_as_a_graph_from_its_module(tmp_path):
    module = lossearch.loss("logit_adjustment", prior=[0.4, 0.3, 0.2, 0.1])
    path = lossearch.export(module, tmp_path / "loss.pt2", num_classes=4)
    torch.testing.assert_close(torch.export.load(path).module()(*batch()), module(*batch()))


def test_an_entry_of_a_leaderboard_is_exported_with_its_card(tmp_path):
    finished_run(tmp_path / "run")
    entry = Leaderboard(tmp_path / "run")[0]
    path = lossearch.export(entry, tmp_path / "best.py", card=True)
    card = (tmp_path / "best.py.md").read_text()
    assert entry.loss_id in card
    assert "Under seeds that the search did not use, on the same split: accuracy" in card
    assert "(450 samples)" in card
    assert "under 6 fresh seeds" in path.read_text()
    exported, module = load_exported(path).Loss, entry.loss(num_classes=4, embedding_size=4)
    assert exported.calibration == entry.calibration
    if not entry.formula.looks_at_embeddings:
        torch.testing.assert_close(exported()(*batch()), module(*batch()))


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
        ("focal", "x.pt2", {}, "Expected num_classes=... for the format pt2"),
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
        ("focal", "x.pt2", {"num_classes": -2}, "Expected num_classes to be a whole number above 0, got -2"),
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
        '{"fitness": 5.0, "cross_entropy": 1.0, "difference": 4.0, "difference_std": 1.0, "seeds": 6}',
        '{"fitness": 0.9, "cross_entropy": 0.8, "difference": 0.1, "difference_std": -1.0, "seeds": 6}',
        '{"fitness": 0.9, "cross_entropy": 0.8, "difference": 0.5, "difference_std": 1.0, "seeds": 6}',
        '{"fitness": %s, "cross_entropy": 0.8, "difference": 0.5, "difference_std": 1.0, "seeds": 6}' % ("9" * 400),
        '{"fitness": NaN, "cross_entropy": 0.8, "difference": 0.5, "difference_std": 1.0, "seeds": 6}',
        '{"fitness": null, "cross_entropy": 0.8, "difference": null, "difference_std": null, "seeds": 2}',
    ],
)
def test_a_strangers_log_gives_no_fresh_seed_test(trial, tmp_path):
    finished_run(tmp_path / "run")
    entry = Leaderboard(tmp_path / "run")[0]
    (tmp_path / "run" / "log.jsonl").write_text(f'not json\n{{"best": "{entry.loss_id}", "trial": {trial}}}\n')
    lossearch.export(entry, tmp_path / "best.py", card=True)
    assert "It was not trained again under fresh seeds." in (tmp_path / "best.py.md").read_text()


def test_a_failed_test_under_fresh_seeds_is_reported(tmp_path):
    finished_run(tmp_path / "run")
    entry = Leaderboard(tmp_path / "run")[0]
    trial = '{"fitness": null, "cross_entropy": null, "difference": null, "difference_std": null, "seeds": 2}'
    (tmp_path / "run" / "log.jsonl").write_text(f'{{"best": "{entry.loss_id}", "trial": {trial}}}\n')
    lossearch.export(entry, tmp_path / "best.py", card=True)
    expected = "on the same split: a training failed, after 2 fresh seeds that did not."
    assert expected in (tmp_path / "best.py.md").read_text()


def test_an_entry_without_its_factor_says_so(tmp_path):
    finished_run(tmp_path / "run")
    entry = Leaderboard(tmp_path / "run")[0]
    plain = lossearch.export(entry, tmp_path / "plain.py", calibrated=False, card=True)
    assert "calibrated: bool" not in plain.read_text()
    assert "The factor **is not in this file**." in (tmp_path / "plain.py.md").read_text()
    assert ", left out" in plain.read_text()
    lossearch.export(entry, tmp_path / "full.py", card=True)
    assert "The factor is in this file." in (tmp_path / "full.py.md").read_text()
    with pytest.raises(ValueError, match="Expected calibrated=False with an entry of a leaderboard"):
        lossearch.export("focal", tmp_path / "x.py", calibrated=False)


def test_a_graphs_limits_are_on_its_card(tmp_path):
    lossearch.export("logit_adjustment", tmp_path / "x.pt2", num_classes=2, prior=[0.75, 0.25], card=True)
    assert "Its prior is 0.75, 0.25." in (tmp_path / "x.pt2.md").read_text()
    lossearch.export("mixed_cross_entropy", tmp_path / "y.pt2", num_classes=2, card=True)
    assert "Its progress stays at 0 during the whole training" in (tmp_path / "y.pt2.md").read_text()
    with pytest.warns(UserWarning, match="random"):
        lossearch.export("arcface", tmp_path / "z.pt2", num_classes=4, embedding_size=3, card=True)
    assert "The graph is for 4 classes and embeddings of size 3." in (tmp_path / "z.pt2.md").read_text()
    assert "The class weights of the graph are random" in (tmp_path / "z.pt2.md").read_text()


def test_an_export_warns_of_module_settings_that_a_file_cannot_keep(tmp_path):
    with pytest.warns(UserWarning, match="The module's weight is not in the file"):
        lossearch.export(lossearch.loss("focal", weight=[1.0, 2.0]), tmp_path / "x.py")
    module = lossearch.loss("am_softmax", num_classes=4, embedding_size=3)
    with pytest.warns(UserWarning, match="The module's class weights are not in the file"):
        path = lossearch.export(module, tmp_path / "y.py")
    exported = load_exported(path).Loss(4, 3)
    exported.load_state_dict(module.state_dict())
    torch.testing.assert_close(exported(*batch(3)), module(*batch(3)))


def test_a_scale_of_a_module_is_an_argument_of_its_file(tmp_path):
    path = lossearch.export(lossearch.loss("focal", scale=3.0), tmp_path / "x.py")
    assert "calibrat" not in path.read_text()
    exported, plain = load_exported(path).Loss, lossearch.loss("focal")
    torch.testing.assert_close(exported()(*batch()), 3.0 * plain(*batch()))
    torch.testing.assert_close(exported(scale=0.5)(*batch()), 0.5 * plain(*batch()))
    graph = lossearch.export("focal", tmp_path / "y.pt2", num_classes=4, scale=0.0)
    assert torch.export.load(graph).module()(*batch()) == 0.0


def test_numbers_of_other_libraries_become_python_numbers(tmp_path):
    import numpy

    module = lossearch.loss("ce(z) + m*mean_c(p)", m=numpy.float64(0.3), label_smoothing=numpy.float32(0.5))
    path = lossearch.export(module, tmp_path / "x.py")
    assert "numpy" not in path.read_text()
    assert "np." not in path.read_text()
    torch.testing.assert_close(load_exported(path).Loss()(*batch()), module(*batch()))


def test_an_export_draws_nothing_from_the_global_generator(tmp_path):
    before = torch.get_rng_state()
    lossearch.export("arcface", tmp_path / "x.py", reduction="sum", card=True)
    assert torch.equal(before, torch.get_rng_state())


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="Expected a path in a directory that exists"):
        lossearch.export("focal", tmp_path / "gone" / "x.py")


@pytest.mark.parametrize(
    ("text", "defaults", "other"),
    [
        ("ce(z)*m**n", {"m": 2.0, "n": 0.5}, {"m": -2.0, "n": 0.5}),
        ("ce(z)*m**n", {"m": 2.0, "n": 0.5}, {"m": 3.0, "n": -2.0}),
        ("ce(z)/(m - 1)", {"m": 2.0}, {"m": 1.0}),
        ("z*num_classes/m", {"m": 2.0}, {"m": -0.5}),
        ("ce(z)/relu(m)", {"m": 2.0}, {"m": -1.0}),
        ("ce(z) + exp(m**n)*p", {"m": 2.0, "n": 0.5}, {"m": 0.0, "n": 0.5}),
    ],
)
def test_numbers_alone_are_computed_as_in_the_module(text, defaults, other, tmp_path):
    path = lossearch.export(text, tmp_path / "x.py", **defaults)
    for values in (defaults, other):
        exported, module = load_exported(path).Loss(**values).double(), lossearch.loss(text, **values).double()
        logits, target = batch()
        torch.testing.assert_close(
            exported(logits.double(), target), module(logits.double(), target), rtol=1e-6, atol=0
        )


def test_a_number_by_which_a_loss_divides_is_not_zero(tmp_path):
    path = lossearch.export("ce(z)/m", tmp_path / "x.py", m=2.0)
    with pytest.raises(ValueError, match="Expected m to be another number than 0, by which the loss divides"):
        load_exported(path).Loss(m=0.0)


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), ("3", 3), (True, 3), (3, 2.5), (-1, 3)])
def test_sizes_of_an_exported_class_are_checked(sizes, tmp_path):
    path = lossearch.export("am_softmax", tmp_path / "x.py")
    with pytest.raises(ValueError, match="to be a whole number above 0, got"):
        load_exported(path).Loss(*sizes)
    with pytest.raises(ValueError, match="to be a whole number above 0, got"):
        lossearch.loss("am_softmax", num_classes=sizes[0], embedding_size=sizes[1])


def test_options_and_sizes_beside_a_module_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Expected options with a name, a formula or an entry, got gamma"):
        lossearch.export(lossearch.loss("focal"), tmp_path / "x.py", gamma=1.0)
    module = lossearch.loss("arcface", num_classes=4, embedding_size=3)
    with pytest.raises(ValueError, match="Expected embedding_size 3, the module's, got 5"):
        lossearch.export(module, tmp_path / "x.pt2", embedding_size=5)
    weighted = lossearch.loss("focal", weight=[1.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="Expected a loss over 2 classes"):
        lossearch.export(weighted, tmp_path / "x.pt2", num_classes=2)


def test_an_export_warns_of_random_class_weights_in_a_graph(tmp_path):
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


def test_a_changed_entry_has_no_measurements(tmp_path):
    finished_run(tmp_path / "run")
    entry = next(entry for entry in Leaderboard(tmp_path / "run") if entry.name == "am_softmax")
    path = lossearch.export(entry, tmp_path / "a.py", m=0.2, label_smoothing=0.1, card=True)
    assert load_exported(path).Loss(4, 3).m == 0.2
    for text in (path.read_text(), (tmp_path / "a.py.md").read_text()):
        assert "m = 0.2, in the run 0.35; label_smoothing = 0.1, in the run 0.0" in " ".join(text.split())
        assert "accuracy" not in text
        assert "calibrat" not in text.lower()
    assert "None here" in (tmp_path / "a.py.md").read_text()
    with pytest.raises(ValueError, match="The loss has no hyper-parameter 'q'; known: m, s"):
        lossearch.export(entry, tmp_path / "b.py", q=0.2)


def test_a_graph_describes_itself(tmp_path):
    import json

    import onnx

    model = onnx.load(lossearch.export("focal", tmp_path / "x.onnx", num_classes=4, gamma=0.5))
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["Loss"] == "focal"
    assert facts["Hyper-parameters"] == "alpha = 1, gamma = 0.5"
    assert "Lin et al." in facts["Source"]
    assert model.producer_name == "lossearch"
    files = {"lossearch.json": ""}
    torch.export.load(lossearch.export("focal", tmp_path / "x.pt2", num_classes=4), extra_files=files)
    assert json.loads(files["lossearch.json"])["Formula"] == str(lossearch.loss("focal").formula)
