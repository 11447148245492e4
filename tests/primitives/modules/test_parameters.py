"""A loss owns a parameter only if its value or its scores use it, and every trained parameter gets a gradient."""

import subprocess
import sys

import pytest
import torch

import lossearch
from lossearch.engine.export_check import load_exported
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.parser import parse
from lossearch.primitives.modules.torch_loss import loss_module
from lossearch.results.export.exportable import of_module
from lossearch.results.export.python_file import export_source

OVER_EMBEDDINGS = [name for name, loss in CATALOG.items() if loss.formula.looks_at_embeddings]
FORMULAS = ["at_target(dist2)", "square(norm - 1)", "at_target(dist2) + norm", "ce(-dist2)", "ce(z) + detach(norm)"]
FORMULAS += ["ce(z) + at_target(detach(dist2))", "ce(weight_norm*y + cosine)", "at_target(detach(cosine)*dist2)"]
PRIOR = [0.1, 0.2, 0.3, 0.4]


def module(text):
    formula, values = (CATALOG[text].formula, CATALOG[text].values()) if text in CATALOG else (parse(text), {})
    prior = PRIOR if "prior" in formula.names else None
    return loss_module(formula, values, num_classes=4, embedding_size=3, prior=prior)


def exported(text, tmp_path):
    loss = module(text)
    path = tmp_path / "loss.py"
    path.write_text(export_source(of_module(loss)))
    return load_exported(path).Loss(4, 3, *([PRIOR] if "prior" in loss.formula.names else []))


@pytest.mark.parametrize("text", [*OVER_EMBEDDINGS, *FORMULAS])
def test_every_trained_parameter_gets_a_gradient(text, tmp_path):
    embeddings, index = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 4
    losses = module(text), exported(text, tmp_path)
    names = [[(name, value.requires_grad) for name, value in loss.named_parameters()] for loss in losses]
    assert names[0] == names[1]
    for loss in losses:
        for target in (index, torch.full((8, 4), 0.25)):
            loss.zero_grad()
            loss(embeddings.clone().requires_grad_(), target).sum().backward()
            trained = {name for name, value in loss.named_parameters() if value.requires_grad}
            assert {name for name, value in loss.named_parameters() if value.grad is not None} == trained
        assert loss.get_logits(embeddings).shape == (8, 4)


def test_a_loss_over_distances_owns_centers_alone_and_predicts_the_nearest():
    loss = module("large_margin_gaussian_mixture")
    assert [name for name, _ in loss.named_parameters()] == ["centers"]
    assert torch.equal(loss.get_logits(loss.centers).argmax(1), torch.arange(4))


def test_a_state_of_a_version_that_owned_unused_weights_still_loads():
    loss = module("large_margin_gaussian_mixture")
    centers = torch.randn(4, 3)
    loss.load_state_dict({"weight": torch.zeros(4, 3), "centers": centers})
    assert torch.equal(loss.centers, centers)


@pytest.mark.parametrize("build", [module, exported])
def test_progress_is_part_of_the_state_and_a_state_without_it_loads(build, tmp_path):
    text = "ce(cosine*(1 + progress))"
    first, second = (build(text, *([tmp_path] if build is exported else [])) for _ in range(2))
    first.set_progress(0.75)
    state = first.state_dict()
    second.load_state_dict(state)
    assert float(second.progress) == 0.75
    del state["progress"]
    second.load_state_dict(state)
    torch.nn.ModuleList([second]).load_state_dict({f"0.{name}": value for name, value in state.items()})
    assert float(second.progress) == 0.75


def test_weights_that_were_being_fine_tuned_are_learned_again_after_loading(tmp_path):
    first, second = (lossearch.loss("pedcc", num_classes=4, embedding_size=3, fine_tune_from=0.5) for _ in range(2))
    first.set_progress(0.6)
    second.load_state_dict(first.state_dict())
    assert second.weight.requires_grad
    (tmp_path / "loss.py").write_text(export_source(of_module(first)))
    exported = load_exported(tmp_path / "loss.py").Loss(4, 3)
    exported.load_state_dict(first.state_dict())
    assert exported.weight.requires_grad


DISTRIBUTED = """
import sys
import torch
from lossearch.primitives.catalog import CATALOG
from tests.primitives.modules.test_parameters import FORMULAS, OVER_EMBEDDINGS, module
rank = int(sys.argv[1])
store = torch.distributed.FileStore(sys.argv[2], 2)
torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
for text in [*OVER_EMBEDDINGS, *FORMULAS]:
    loss = module(text)
    if not any(parameter.requires_grad for parameter in loss.parameters()):
        continue
    loss = torch.nn.parallel.DistributedDataParallel(loss)
    for step in range(3):
        loss(torch.randn(6, 3), torch.arange(6) % 4).backward()
torch.distributed.destroy_process_group()
"""


@pytest.mark.long
def test_losses_train_in_two_processes(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DISTRIBUTED, str(rank), str(tmp_path / "store")], stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
