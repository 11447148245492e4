"""Every known loss can be compiled, exported, copied, saved and mapped, also in half precision, like any module."""

import copy
import io
import pickle
import re

import pytest
import torch
from torch.export import Dim
from torch.func import functional_call, grad, vmap

from lossearch.engine.export_check import load_exported
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.parser import parse
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, loss_module
from lossearch.results.export.exportable import of_known
from lossearch.results.export.python_file import export_source
from tests.long_cases import long_unless

CLASSES, SIZE, SAMPLES = 5, 4, 6
OWN_FORMULAS = {
    "every_terminal": "ce(z) + norm + at_target(cosine + dist2 + weight_norm + prior) + progress*num_classes + pi",
    "over_the_batch": "batch_mean(ce(z))*ce(z) + detach(at_target(p)) + max_c(y*z)",
}
EVERY = [*CATALOG, *OWN_FORMULAS]


def parts(name):
    """Return the parts of a module: the words of its formula and the kind of its class weights."""
    if name in OWN_FORMULAS:
        return set(re.findall(r"[a-z_]\w*", OWN_FORMULAS[name]))
    loss = CATALOG[name]
    return set(re.findall(r"[a-z_]\w*", str(loss.bound()))) | {f"{loss.class_weights} class weights"}


def covering(names):
    """Choose a few losses that together have every part of any loss, each time the one with most new parts."""
    chosen, missing = [], set().union(*map(parts, names))
    while missing:
        chosen.append(max(names, key=lambda name: len(parts(name) & missing)))
        missing -= parts(chosen[-1])
    return chosen


#: Losses to compile in `make test`: they have every operator, every terminal and every kind of class weights.
SAMPLE = covering(EVERY)
SAMPLED = pytest.mark.parametrize("name", long_unless(EVERY, SAMPLE))


def module(name, dtype=torch.float32):
    prior = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25], dtype=dtype)
    if name in OWN_FORMULAS:
        loss = loss_module(parse(OWN_FORMULAS[name]), num_classes=CLASSES, embedding_size=SIZE, prior=prior)
    else:
        loss = CATALOG[name].module(num_classes=CLASSES, embedding_size=SIZE, prior=prior)
    generator = torch.Generator().manual_seed(2)
    for parameter in loss.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    loss.set_progress(0.4)
    return loss.to(dtype)


def batch(loss, samples=SAMPLES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    width = SIZE if isinstance(loss, EmbeddingLoss) else CLASSES
    target = torch.randint(0, CLASSES, (samples,), generator=generator)
    return torch.randn(samples, width, generator=generator), target


def value_and_gradient(call, inputs, target):
    inputs = inputs.clone().requires_grad_()
    value = call(inputs, target)
    (gradient,) = torch.autograd.grad(value, inputs)
    return value.detach(), gradient


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_sample_is_small_and_has_every_operator_and_every_kind_of_class_weights():
    assert set().union(*map(parts, SAMPLE)) == set().union(*map(parts, EVERY))
    assert {f"{loss.class_weights} class weights" for loss in CATALOG.values()} <= set().union(*map(parts, SAMPLE))
    assert len(SAMPLE) < len(EVERY) / 3


@SAMPLED
def test_it_compiles_as_one_graph(name):
    loss = module(name)
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    inputs, target = batch(loss)
    target[1] = -100
    assert_same(value_and_gradient(compiled, inputs, target), value_and_gradient(loss, inputs, target))


@SAMPLED
def test_it_compiles_for_any_size_and_numbers(name):
    loss = module(name)
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend="aot_eager")
    for samples in (SAMPLES, 9):
        inputs, target = batch(loss, samples)
        assert_same(value_and_gradient(compiled, inputs, target), value_and_gradient(loss, inputs, target))


@pytest.mark.parametrize("exported", [False, True])
def test_a_sweep_of_numbers_compiles_in_one_process(exported, tmp_path):
    torch._dynamo.reset()
    (tmp_path / "loss.py").write_text(export_source(of_known(CATALOG["focal"], CATALOG["focal"].values())))
    build = load_exported(tmp_path / "loss.py").Loss if exported else CATALOG["focal"].module
    for gamma in (1.0, 2.0, 3.0, 2.5, 0.5, 0.0):
        loss = build(gamma=gamma)
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        inputs, target = torch.randn(SAMPLES, CLASSES), torch.arange(SAMPLES) % CLASSES
        assert_same(value_and_gradient(compiled, inputs, target), value_and_gradient(loss, inputs, target))


@pytest.mark.parametrize(("name", "options"), [("focal", {}), ("cross_entropy", {"label_smoothing": 0.1})])
def test_a_graph_refuses_a_class_out_of_range(name, options):
    loss = CATALOG[name].module(**options)
    inputs = torch.randn(4, CLASSES)
    program = torch.export.export(loss, (inputs, torch.arange(4)))
    torch._dynamo.reset()
    for graph in (torch.compile(loss, fullgraph=True, backend="aot_eager"), program.module()):
        assert torch.isfinite(graph(inputs, torch.arange(4)))
        for wrong in (-1, CLASSES, 7):
            with pytest.raises(RuntimeError, match="Expected class indices"):
                graph(inputs, torch.tensor([0, 1, 2, wrong]))


def test_a_mapped_loss_compiles_and_refuses_a_class_out_of_range():
    loss, inputs, target = CATALOG["focal"].module(), torch.randn(2, 2, CLASSES), torch.tensor([[0, 1], [4, 2]])
    torch._dynamo.reset()
    compiled = torch.compile(vmap(loss), backend="aot_eager")
    torch.testing.assert_close(compiled(inputs, target), vmap(loss)(inputs, target))
    for mapped in (vmap(loss), compiled):
        with pytest.raises(RuntimeError, match="out of bounds"):
            mapped(inputs, target - 1)


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("name", long_unless(["cross_entropy", "arcface"], ["arcface"]))
def test_it_compiles_to_machine_code(name):
    loss = module(name)
    torch._dynamo.reset()
    inputs, target = batch(loss)
    compiled = torch.compile(loss, fullgraph=True)
    assert_same(value_and_gradient(compiled, inputs, target), value_and_gradient(loss, inputs, target))


@SAMPLED
def test_it_is_exported_for_a_batch_of_any_size(name):
    loss = module(name)
    dimension = Dim("batch", min=1)
    program = torch.export.export(loss, batch(loss), dynamic_shapes=({0: dimension}, {0: dimension}))
    for samples in (1, 3, 11):
        torch.testing.assert_close(program.module()(*batch(loss, samples)), loss(*batch(loss, samples)))


@pytest.mark.parametrize("name", EVERY)
def test_its_gradient_is_taken_by_func_and_mapped_over_batches(name):
    loss = module(name, torch.float64)
    parts = [batch(loss, seed=seed) for seed in range(3)]
    inputs, targets = torch.stack([batch for batch, _ in parts]).double(), torch.stack([batch for _, batch in parts])
    expected = [value_and_gradient(loss, batch.double(), target) for batch, target in parts]
    torch.testing.assert_close(vmap(loss)(inputs, targets), torch.stack([value for value, _ in expected]))
    gradients = vmap(grad(loss))(inputs, targets)
    torch.testing.assert_close(gradients, torch.stack([gradient for _, gradient in expected]))
    assert torch.equal(grad(loss)(inputs[0], targets[0]), expected[0][1])


@pytest.mark.parametrize("name", ["arcface", "center", "sub_center_arcface"])
def test_class_weights_are_mapped_over(name):
    loss = module(name, torch.float64)
    inputs, target = batch(loss)
    members = {key: torch.stack([value, 2.0 * value, -value]) for key, value in loss.named_parameters()}
    mapped = vmap(lambda weights: functional_call(loss, weights, (inputs.double(), target)))(members)
    for index in range(3):
        member = {key: value[index] for key, value in members.items()}
        torch.testing.assert_close(mapped[index], functional_call(loss, member, (inputs.double(), target)))


@pytest.mark.parametrize("name", EVERY)
def test_it_is_copied_pickled_and_its_state_loaded(name):
    loss = module(name)
    inputs, target = batch(loss)
    file = io.BytesIO()
    torch.save(loss.state_dict(), file)
    file.seek(0)
    fresh = copy.deepcopy(loss)
    for value in fresh.state_dict().values():
        value.zero_()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), fresh):
        assert torch.equal(other(inputs, target), loss(inputs, target))
        assert str(other) == str(loss)
        assert [parameter.requires_grad for parameter in other.parameters()] == [
            parameter.requires_grad for parameter in loss.parameters()
        ]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", EVERY)
def test_autocast_computes_in_float32_and_leaves_the_parameters_alone(name, dtype):
    loss = module(name)
    inputs, target = batch(loss)
    expected = value_and_gradient(loss, inputs, target)

    def under_autocast(inputs, target):  # the backward pass belongs outside of it
        with torch.autocast("cpu", dtype=dtype):
            return loss(inputs, target)

    response = value_and_gradient(under_autocast, inputs, target)
    half = value_and_gradient(under_autocast, inputs.to(dtype), target)
    assert_same(response, expected)
    assert half[0].dtype is torch.float32
    assert half[1].dtype is dtype
    assert all(parameter.dtype is torch.float32 for parameter in loss.parameters())


@pytest.mark.parametrize("name", CATALOG)
def test_its_text_shows_the_formula_and_every_hyperparameter(name):
    text = repr(module(name))
    assert CATALOG[name].text.replace(" ", "") in text.replace(" ", "") or str(CATALOG[name].formula) in text
    for parameter in CATALOG[name].hyperparameters:
        assert f"{parameter.name}={parameter.default:g}" in text
