"""Losses as ONNX models, run by ONNX Runtime, and as PyTorch programs, loaded from their files."""

import sys

import onnxruntime
import pytest
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors

from lossearch.primitives.catalog import CATALOG
from lossearch.results.export.exportable import of_module
from lossearch.results.export.graph import MissingPackage, onnx_model, write_graph
from tests.long_cases import long_unless
from tests.primitives.modules.test_any_module import CLASSES, SAMPLED, batch, module


@SAMPLED
def test_onnx_runtime_gives_the_losses_value_for_a_batch_of_any_size(name):
    loss = module(name)
    model = onnxruntime.InferenceSession(onnx_model(loss, CLASSES).SerializeToString())
    first, second = (input_.name for input_ in model.get_inputs())
    assert (first in ("logits", "embeddings"), second) == (True, "target")
    for samples in (1, 3, 11):
        inputs, target = batch(loss, samples)
        (value,) = model.run(["loss"], {first: inputs.numpy(), second: target.numpy()})
        torch.testing.assert_close(torch.tensor(value), loss(inputs, target).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("smoothing", long_unless([0.0, 0.1], [0.1]))
def test_an_onnx_model_is_nan_or_fails_for_a_class_out_of_range(smoothing):
    """ONNX has no assertions, and a negative index counts from the end."""
    loss = CATALOG["focal"].module(label_smoothing=smoothing)
    model = onnxruntime.InferenceSession(onnx_model(loss, CLASSES).SerializeToString())
    inputs = torch.randn(3, CLASSES).numpy()
    for wrong in (-1, CLASSES):
        try:
            (value,) = model.run(["loss"], {"logits": inputs, "target": torch.tensor([0, 1, wrong]).numpy()})
        except (onnx_errors.Fail, onnx_errors.InvalidArgument):
            continue
        assert not torch.isfinite(torch.tensor(value))


@pytest.mark.parametrize("name", ["focal", "arcface"])
def test_a_program_is_loaded_from_its_file(name, tmp_path):
    loss = module(name)
    path = write_graph(tmp_path / "loss.pt2", loss, CLASSES, "pt2", of_module(loss))
    program = torch.export.load(path)
    for samples in (1, 5):
        torch.testing.assert_close(program.module()(*batch(loss, samples)), loss(*batch(loss, samples)))


def test_a_missing_package_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingPackage, match=r"pip install 'lossearch\[onnx\]'"):
        onnx_model(module("focal"), CLASSES)
