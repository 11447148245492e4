"""A cohort trains every candidate as if it were alone, and one that diverges changes no other."""

import pytest
import torch

from evaluators import cohort as cohort_module
from evaluators.cohort import Cohort, batched
from evaluators.cohort_heads import ClassWeightHeads
from evaluators.evaluation import Candidate, Work, evaluate
from evaluators.fidelity import Fidelity
from evaluators.networks import PROXIES
from evaluators.tasks import known_task
from evaluators.training import (
    adopt_class_weights,
    calibration_factor,
    initial_model,
    loss_for,
    owns_class_weights,
    score,
    train,
    train_alone,
)
from primitives.catalog import CATALOG
from primitives.joint_gradient import JointGradient
from primitives.joint_program import FEATURES
from primitives.parser import parse
from primitives.torch_loss import loss_module

TASK, SEEDS = known_task("digits"), [11, 12]
FIFTY_STEPS = Fidelity(steps=50, seeds=2)

KINDS = {
    None: [name for name, loss in CATALOG.items() if not loss.formula.looks_at_embeddings],
    "learned": [
        name
        for name, loss in CATALOG.items()
        if loss.formula.looks_at_embeddings and loss.class_weights == "learned" and name != "arcface"
    ],
    "pedcc": ["pedcc", "am_softmax", "center"],
    "sub_centers": ["sub_center_arcface", "am_softmax"],
}


def formulas(names):
    return [CATALOG[name].bound() for name in names]


def trained_alone(formula, kind, seed, factor, fidelity):
    """Network, loss and fitness of one candidate, trained by autograd with torch's own optimiser."""
    loss, model, splits = loss_for(formula, TASK, fidelity, kind), initial_model(TASK, fidelity, seed), TASK.load()
    if owns_class_weights(loss):
        adopt_class_weights(loss, model, seed)
    train(loss, model, splits, fidelity, seed, factor, TASK.classes)
    return model, loss, score(loss, model, splits)


def relative_difference(ours, theirs):
    return float((ours - theirs).detach().norm() / theirs.detach().norm())


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_member_equals_the_candidate_trained_alone(kind):
    together = formulas(KINDS[kind])
    cohort = Cohort(together, kind, TASK, FIFTY_STEPS, SEEDS)
    outcomes = cohort.train_and_score()
    for k, (name, outcome) in enumerate(zip(KINDS[kind], outcomes, strict=True)):
        if outcome.reasons != [None, None]:
            continue  # compared by the next test
        for s, seed in enumerate(SEEDS):
            model, loss, fitness = trained_alone(together[k], kind, seed, outcome.calibration, FIFTY_STEPS)
            weight = model.head.weight if kind is None else loss.weight
            assert relative_difference(cohort.network.hidden.weight[s, k], model.backbone.hidden.weight) < 1e-4, name
            assert relative_difference(cohort.heads.weight[s, k], weight) < 1e-4, name
            assert outcome.fitness[s] == pytest.approx(fitness, abs=1 / 450 + 1e-9), name


@pytest.mark.parametrize("network", PROXIES)
def test_a_member_of_every_proxy_equals_the_candidate_trained_alone(network):
    fidelity = Fidelity(steps=50, seeds=2, network=network, hidden=24)
    together = formulas(["cross_entropy", "focal", "ngl", "mse"])
    cohort = Cohort(together, None, TASK, fidelity, SEEDS)
    for k, outcome in enumerate(cohort.train_and_score()):
        for s, seed in enumerate(SEEDS):
            model, _, fitness = trained_alone(together[k], None, seed, outcome.calibration, fidelity)
            theirs = [*model.backbone.parameters(), *model.head.parameters()]
            ours = [each[s, k] for each in (*cohort.network.parameters, *cohort.heads.parameters)]
            assert [each.shape for each in ours] == [each.shape for each in theirs]
            for one, other in zip(ours, theirs, strict=True):
                assert relative_difference(one, other) < 1e-4
            assert outcome.fitness[s] == pytest.approx(fitness, abs=1 / 450 + 1e-9)


def test_a_proxy_for_images_refuses_what_is_none():
    with pytest.raises(ValueError, match=r"Expected images of shape .* got \[64\]"):
        PROXIES["cnn"]((64,), 8, torch.Generator())


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_outcomes_are_those_of_the_loop(kind):
    together = formulas(KINDS[kind])
    outcomes = Cohort(together, kind, TASK, FIFTY_STEPS, SEEDS).train_and_score()
    for name, formula, ours in zip(KINDS[kind], together, outcomes, strict=True):
        theirs = train_alone(formula, kind, TASK, FIFTY_STEPS, SEEDS)
        assert (ours.reasons[0] is None) == (theirs.reasons[0] is None), name
        if ours.calibration is not None:
            assert ours.calibration == pytest.approx(theirs.calibration, rel=1e-4), name


def test_calibrations_are_those_of_the_candidates():
    names = ["mse", "focal", "ngl", "mae"]
    found = Cohort(formulas(names), None, TASK, FIFTY_STEPS, SEEDS).calibrations()
    for name, ours in zip(names, found, strict=True):
        loss = loss_for(CATALOG[name].bound(), TASK, FIFTY_STEPS)
        assert ours == pytest.approx(calibration_factor(loss, TASK, FIFTY_STEPS, SEEDS[0]), rel=1e-4)


def test_a_diverging_member_changes_nobody_else():
    diverging = "square(ce(z))*lse_c(square(z))*exp(square(z))"
    fidelity = Fidelity(steps=40, seeds=2, learning_rate=2.0)
    texts = ["ce(z)", diverging, "square(p - y)"]
    mixed = Cohort([parse(text) for text in texts], None, TASK, fidelity, SEEDS)
    outcomes = mixed.train_and_score()
    assert outcomes[1].fitness == [None, None]
    assert all(reason.startswith("diverged at step") for reason in outcomes[1].reasons)
    for k in (0, 2):
        single = Cohort([parse(texts[k])], None, TASK, fidelity, SEEDS)
        assert single.train_and_score() == [outcomes[k]]
        assert torch.equal(single.network.hidden.weight[:, 0], mixed.network.hidden.weight[:, k])


def test_a_formula_without_a_gradient_is_told_from_the_others():
    outcomes = Cohort([parse("sum_c(y)"), parse("ce(z)")], None, TASK, FIFTY_STEPS, SEEDS).train_and_score()
    assert outcomes[0].reasons == ["the first gradient at the embedding is 0 or not finite"] * 2
    assert outcomes[1].reasons == [None, None]
    alone = Cohort([parse("sum_c(y)")], None, TASK, FIFTY_STEPS, SEEDS).train_and_score()
    assert alone == [outcomes[0]]


@pytest.mark.parametrize("kind", ["learned", "sub_centers"])
def test_features_and_their_gradients_are_those_of_an_embedding_loss(kind):
    names = [name for name in KINDS[kind] if name != "ldam"]
    embeddings = torch.randn(7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    index = torch.arange(7) % 4
    losses = [
        loss_module(
            each,
            num_classes=4,
            embedding_size=6,
            class_weights=kind,
            generator=torch.Generator().manual_seed(1),
        ).double()
        for each in formulas(names)
    ]
    weight, centers = losses[0].weight.detach(), torch.randn(4, 6, dtype=torch.float64)
    heads = ClassWeightHeads([weight], [centers], len(names), torch.device("cpu"), learned=True)
    gradient = JointGradient(formulas(names), 4, dtype=torch.float64)
    gradient.prepare(7, 1, [1.0] * len(names))
    seen = embeddings.T.expand(1, len(names), -1, -1).clone().requires_grad_()
    features = heads.features(seen, [name for name in FEATURES if gradient.used[name]])
    given = {name: each.transpose(0, 1).transpose(1, 2) for name, each in features.items()}
    found = gradient.run(given, {"index": index.reshape(1, 1, -1)})
    torch.autograd.backward([given[name] for name in found], list(found.values()))
    for k, loss in enumerate(losses):
        loss.weight.data.copy_(weight)
        if loss.centers is not None:
            loss.centers.data.copy_(centers)
        x = embeddings.clone().requires_grad_()
        loss(x, index).backward()
        torch.testing.assert_close(seen.grad[0, k].T, x.grad, msg=names[k])
        expected = (
            torch.zeros_like(weight if kind == "learned" else loss.weight)
            if loss.weight.grad is None
            else loss.weight.grad
        )
        torch.testing.assert_close(heads.weight.grad[0, k], expected, msg=names[k])


def test_a_network_without_a_batched_form_is_trained_one_at_a_time(monkeypatch):
    candidates = tuple(Candidate(str(k), text, 2, 0, "known", k) for k, text in enumerate(["ce(z)", "abs(p - y)"]))
    work = Work(candidates, "digits", FIFTY_STEPS, 3)
    together = evaluate(work)
    monkeypatch.setattr(cohort_module, "BATCHED", {})
    assert not batched(TASK, FIFTY_STEPS)
    alone = evaluate(work)
    assert [each.evaluation_id for each in alone] == [each.evaluation_id for each in together]
    assert [each.fitness for each in alone] == pytest.approx([each.fitness for each in together], abs=1 / 450 + 1e-9)


def test_an_evaluation_does_not_depend_on_its_cohort():
    texts = ["ce(z)", "abs(p - y)", "ce(30*(cosine - 0.35*y))", "square(p - y)", "ce(20*(cosine - 0.1*y))"]
    kinds = {text: "learned" if "cosine" in text else None for text in texts}
    candidates = [Candidate(text, text, 2, 0, "known", 1, class_weights=kinds[text]) for text in texts]
    together = evaluate(Work(tuple(candidates), "digits", FIFTY_STEPS, 3))
    assert [each.formula for each in together] == [text for text in texts for _ in SEEDS]
    for k, candidate in enumerate(candidates):
        alone = evaluate(Work((candidate,), "digits", FIFTY_STEPS, 3))
        assert [each.fitness for each in alone] == [each.fitness for each in together[2 * k : 2 * k + 2]]
