"""A cohort trains every candidate as if it were alone, and a candidate that diverges changes no other."""

import gc
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lossearch.evaluators.cohort import cohort as cohort_module
from lossearch.evaluators.cohort.cohort import Cohort, find_batching_obstacle
from lossearch.evaluators.cohort.heads import ClassWeightHeads
from lossearch.evaluators.evaluation import evaluate
from lossearch.evaluators.networks import DENSE
from lossearch.evaluators.networks.registry import NETWORKS
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import known_task
from lossearch.evaluators.training.attached_loss import loss_for
from lossearch.evaluators.training.calibration import calibration_factor
from lossearch.evaluators.training.one_by_one import OneByOne
from lossearch.evaluators.training.optimizers import KEPT, descend
from lossearch.evaluators.training.plan import TrainingPlan
from lossearch.evaluators.training.training import Training
from lossearch.evaluators.work import Candidate, Work
from lossearch.primitives.batched.joint_gradient import JointGradient
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.parser import parse
from lossearch.primitives.language.terminals import FEATURES
from lossearch.primitives.modules.torch_loss import loss_module
from tests.evaluators.loss_ids import loss_id
from tests.long_cases import long_unless

TASK, SEEDS = known_task("digits"), [11, 12]
FIFTY_STEPS = TrainingSettings(steps=50, seeds=2)

BATCHABLE = [name for name in NETWORKS if find_batching_obstacle(TASK, TrainingSettings(network=name)) is None]

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


def task_for(network):
    """Return a task whose targets suit the network: classes of pixels, or of images."""
    return known_task("shapes_segmentation") if network in DENSE else TASK


def train_alone(formula, kind, seed, factor, fidelity):
    """Train one candidate by autograd with torch's own optimiser, and return its network, loss and fitness."""
    task = task_for(fidelity.network)
    training = Training(loss_for(formula, task, fidelity, kind), task, fidelity, seed, factor)
    training.run(fidelity.steps)
    return training.model, training.loss, training.score()


def relative_difference(ours, theirs):
    return float((ours - theirs).detach().norm() / theirs.detach().norm())


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_member_equals_the_candidate_trained_alone(kind):
    together = formulas(KINDS[kind])
    cohort = Cohort(TrainingPlan(together, kind, TASK, FIFTY_STEPS, SEEDS))
    outcomes = cohort.train_and_score()
    for k, (name, outcome) in enumerate(zip(KINDS[kind], outcomes, strict=True)):
        if outcome.reasons != [None, None]:
            continue  # compared by the next test
        place = cohort.alive.index(k)
        for s, seed in enumerate(SEEDS):
            model, loss, fitness = train_alone(together[k], kind, seed, outcome.calibration, FIFTY_STEPS)
            weight = model.head.weight if kind is None else loss.weight
            assert (
                relative_difference(cohort.members.network.hidden.weight[s, place], model.backbone.hidden.weight) < 1e-4
            ), name
            if weight is not None:  # the loss has weights if its formula uses them
                assert relative_difference(cohort.members.heads.weight[s, place], weight) < 1e-4, name
            assert outcome.fitness[s] == pytest.approx(fitness, abs=1 / 450 + 1e-9), name


@pytest.mark.parametrize("network", long_unless(BATCHABLE, lambda network: network != "dense"))
def test_a_member_of_every_proxy_equals_the_candidate_trained_alone(network):
    fidelity = TrainingSettings(
        steps=50, seeds=2, network=network, hidden=24, batch_size=16 if network in DENSE else 64
    )
    together = formulas(["cross_entropy", "focal", "ngl", "mse"])
    cohort = Cohort(TrainingPlan(together, None, task_for(network), fidelity, SEEDS))
    for k, outcome in enumerate(cohort.train_and_score()):
        for s, seed in enumerate(SEEDS):
            model, _, fitness = train_alone(together[k], None, seed, outcome.calibration, fidelity)
            theirs = [*model.backbone.parameters(), *model.head.parameters()]
            ours = [
                parameter[s, k] for parameter in (*cohort.members.network.parameters, *cohort.members.heads.parameters)
            ]
            assert [parameter.shape for parameter in ours] == [parameter.shape for parameter in theirs]
            for our, their in zip(ours, theirs, strict=True):
                assert relative_difference(our, their) < 1e-4
            assert outcome.fitness[s] == pytest.approx(fitness, abs=1 / 450 + 1e-9)


PROTOCOLS = {
    "step": TrainingSettings(steps=50, seeds=2, schedule="step", milestones=(20, 35), decay=0.2, warm_up=5),
    "constant": TrainingSettings(steps=50, seeds=2, schedule="constant", calibrated=False, weight_decay=1e-3),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", [None, "learned"])
def test_a_member_equals_the_candidate_trained_alone_by_every_protocol(protocol, kind):
    fidelity = PROTOCOLS[protocol]
    together = formulas(["cross_entropy", "focal", "ngl"] if kind is None else ["am_softmax", "center"])
    rates = [fidelity.learning_rate, 0.5 * fidelity.learning_rate, fidelity.learning_rate][: len(together)]
    assert_like_alone(Cohort(TrainingPlan(together, kind, TASK, fidelity, SEEDS, learning_rates=rates)), rates, 1e-4, 1)


def assert_like_alone(cohort, rates, weights, samples):
    """Assert that every member has the head and fitness that it has alone.

    ``weights`` is the relative difference allowed in heads, ``samples`` the number of samples in fitness.
    """
    for k, outcome in enumerate(cohort.train_and_score()):
        fidelity = cohort.plan.fidelity.model_copy(update={"learning_rate": rates[k]})
        for s, seed in enumerate(SEEDS):
            model, loss, fitness = train_alone(
                cohort.plan.formulas[k], cohort.plan.class_weights, seed, outcome.calibration, fidelity
            )
            weight = model.head.weight if cohort.plan.class_weights is None else loss.weight
            assert relative_difference(cohort.members.heads.weight[s, k], weight) < weights
            assert outcome.fitness[s] == pytest.approx(fitness, abs=samples / 450 + 1e-9)


def test_adam_of_a_cohort_moves_as_torchs():
    fidelity = TrainingSettings(optimizer="adam", learning_rate=0.01, weight_decay=1e-2)
    generator = torch.Generator().manual_seed(0)
    ours, theirs = torch.ones(3, 4), torch.ones(3, 4, requires_grad=True)
    optimizer = torch.optim.Adam([theirs], 0.01, weight_decay=1e-2)
    kept = [torch.zeros(3, 4) for _ in KEPT["adam"]]
    for step in range(20):
        gradient = torch.randn(3, 4, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        descend(ours, kept, torch.tensor([0.01]), torch.tensor([step]), fidelity)
        optimizer.step()
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", [None, "learned"])
def test_a_member_under_adam_ends_near_the_candidate_trained_alone(kind):
    # Adam moves a weight with a vanishing gradient as far as any other, and rounding decides the direction.
    fidelity = TrainingSettings(steps=50, seeds=2, optimizer="adam", learning_rate=0.01)
    together = formulas(["cross_entropy", "focal", "ngl"] if kind is None else ["am_softmax", "center"])
    rates = [fidelity.learning_rate] * len(together)
    assert_like_alone(Cohort(TrainingPlan(together, kind, TASK, fidelity, SEEDS)), rates, 2e-2, 3)


def test_a_proxy_for_images_refuses_other_inputs():
    with pytest.raises(ValueError, match=r"Expected images of shape .* got \[64\]"):
        NETWORKS["cnn"]((64,), 8, torch.Generator())


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_outcomes_equal_those_of_training_one_at_a_time(kind):
    together = formulas(KINDS[kind])
    outcomes = Cohort(TrainingPlan(together, kind, TASK, FIFTY_STEPS, SEEDS)).train_and_score()
    for name, formula, ours in zip(KINDS[kind], together, outcomes, strict=True):
        (theirs,) = OneByOne(TrainingPlan([formula], kind, TASK, FIFTY_STEPS, SEEDS)).train_and_score()
        assert (ours.reasons[0] is None) == (theirs.reasons[0] is None), name
        if ours.calibration is not None:
            assert ours.calibration == pytest.approx(theirs.calibration, rel=1e-4), name


def test_calibration_factors_equal_those_of_single_candidates():
    names = ["mse", "focal", "ngl", "mae"]
    factors = Cohort(TrainingPlan(formulas(names), None, TASK, FIFTY_STEPS, SEEDS)).calibrate()
    for name, ours in zip(names, factors, strict=True):
        loss = loss_for(CATALOG[name].bound(), TASK, FIFTY_STEPS)
        assert ours == pytest.approx(calibration_factor(loss, TASK, FIFTY_STEPS, SEEDS[0]), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "network"), [("glyphs", "cnn"), ("shapes_segmentation", "dense"), ("shapes_segmentation", "fcn")]
)
@pytest.mark.parametrize("kind", [None, "learned"])
def test_verification_and_segmentation_scores_equal_those_of_single_candidates(name, network, kind):
    task = known_task(name)
    fidelity = TrainingSettings(steps=20, seeds=2, network=network, hidden=12, batch_size=16)
    names = ["cross_entropy", "mse"] if kind is None else ["am_softmax", "center"]
    together = Cohort(TrainingPlan(formulas(names), kind, task, fidelity, SEEDS)).train_and_score()
    alone = OneByOne(TrainingPlan(formulas(names), kind, task, fidelity, SEEDS)).train_and_score()
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.reasons == theirs.reasons == [None, None]
        assert ours.fitness == pytest.approx(theirs.fitness, abs=5e-3)


def test_a_diverging_member_changes_no_other():
    diverging = "square(ce(z))*lse_c(square(z))*exp(square(z))"
    fidelity = TrainingSettings(steps=40, seeds=2, learning_rate=2.0)
    texts = ["ce(z)", diverging, "square(p - y)"]
    mixed = Cohort(TrainingPlan([parse(text) for text in texts], None, TASK, fidelity, SEEDS))
    outcomes = mixed.train_and_score()
    assert outcomes[1].fitness == [None, None]
    assert all(reason.startswith("diverged at step") for reason in outcomes[1].reasons)
    assert mixed.alive == [0, 2]  # the diverged candidate was dropped
    for k in (0, 2):
        single = Cohort(TrainingPlan([parse(texts[k])], None, TASK, fidelity, SEEDS))
        assert single.train_and_score() == [outcomes[k]]
        assert torch.equal(
            single.members.network.hidden.weight[:, 0], mixed.members.network.hidden.weight[:, mixed.alive.index(k)]
        )


def test_a_formula_without_a_gradient_fails_and_the_others_train():
    outcomes = Cohort(
        TrainingPlan([parse("sum_c(y)"), parse("ce(z)")], None, TASK, FIFTY_STEPS, SEEDS)
    ).train_and_score()
    assert outcomes[0].reasons == ["the first gradient at the embedding is 0 or not finite"] * 2
    assert outcomes[1].reasons == [None, None]
    alone = Cohort(TrainingPlan([parse("sum_c(y)")], None, TASK, FIFTY_STEPS, SEEDS)).train_and_score()
    assert alone == [outcomes[0]]


@pytest.mark.parametrize("kind", ["learned", "sub_centers"])
def test_features_and_their_gradients_equal_those_of_an_embedding_loss(kind):
    names = [name for name in KINDS[kind] if name != "ldam"]
    embeddings = torch.randn(7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    index = torch.arange(7) % 4
    losses = [
        loss_module(
            formula,
            num_classes=4,
            embedding_size=6,
            class_weights=kind,
            generator=torch.Generator().manual_seed(1),
        ).double()
        for formula in formulas(names)
    ]
    weight, centers = losses[0].weight.detach(), torch.randn(4, 6, dtype=torch.float64)
    heads = ClassWeightHeads([weight], [centers], len(names), torch.device("cpu"), learned=True)
    gradient = JointGradient(formulas(names), 4, dtype=torch.float64)
    gradient.prepare(7, 1, [1.0] * len(names))
    leaf = embeddings.T.expand(1, len(names), -1, -1).clone().requires_grad_()
    features = heads.compute_features(leaf, [name for name in FEATURES if gradient.used[name]])
    given = {name: feature.transpose(0, 1).transpose(1, 2) for name, feature in features.items()}
    gradients = gradient.run(given, {"index": index.reshape(1, 1, -1)})
    torch.autograd.backward([given[name] for name in gradients], list(gradients.values()))
    for k, loss in enumerate(losses):
        if loss.weight is not None:
            loss.weight.data.copy_(weight)
        if loss.centers is not None:
            loss.centers.data.copy_(centers)
        x = embeddings.clone().requires_grad_()
        loss(x, index).backward()
        torch.testing.assert_close(leaf.grad[0, k].T, x.grad, msg=names[k])
        unused = loss.weight is None or loss.weight.grad is None
        expected = torch.zeros_like(weight) if unused else loss.weight.grad
        torch.testing.assert_close(heads.weight.grad[0, k], expected, msg=names[k])


def test_a_network_without_a_batched_form_is_trained_one_at_a_time(monkeypatch):
    candidates = tuple(Candidate(str(k), text, 2, 0, "known", k) for k, text in enumerate(["ce(z)", "abs(p - y)"]))
    work = Work(candidates, "digits", FIFTY_STEPS, 3)
    together = evaluate(work).evaluations
    monkeypatch.setattr(cohort_module, "BATCHED", {})
    assert find_batching_obstacle(TASK, FIFTY_STEPS) == "the network mlp (Perceptron) has no batched form"
    alone = evaluate(work).evaluations
    assert [evaluation.evaluation_id for evaluation in alone] == [evaluation.evaluation_id for evaluation in together]
    assert [evaluation.fitness for evaluation in alone] == pytest.approx(
        [evaluation.fitness for evaluation in together], abs=1 / 450 + 1e-9
    )


def test_an_evaluation_does_not_depend_on_its_cohort():
    texts = ["ce(z)", "abs(p - y)", "ce(30*(cosine - 0.35*y))", "square(p - y)", "ce(20*(cosine - 0.1*y))"]
    kinds = {text: "learned" if "cosine" in text else None for text in texts}
    candidates = [Candidate(loss_id(text), text, 2, 0, "known", 1, class_weights=kinds[text]) for text in texts]
    together = evaluate(Work(tuple(candidates), "digits", FIFTY_STEPS, 3)).evaluations
    assert [evaluation.formula for evaluation in together] == [text for text in texts for _ in SEEDS]
    for k, candidate in enumerate(candidates):
        alone = evaluate(Work((candidate,), "digits", FIFTY_STEPS, 3)).evaluations
        assert [evaluation.fitness for evaluation in alone] == [
            evaluation.fitness for evaluation in together[2 * k : 2 * k + 2]
        ]


AUGMENTED = {"shift": 1, "flip": True, "noise": 0.2}


@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_a_member_equals_the_candidate_trained_alone_on_augmented_inputs(network):
    fidelity = TrainingSettings(steps=50, seeds=2, network=network, hidden=24, **AUGMENTED)
    together = formulas(["cross_entropy", "ngl"])
    cohort = Cohort(TrainingPlan(together, None, TASK, fidelity, SEEDS))
    plain = Cohort(
        TrainingPlan(together, None, TASK, TrainingSettings(steps=50, seeds=2, network=network, hidden=24), SEEDS)
    )
    plain.train_and_score()
    for k, outcome in enumerate(cohort.train_and_score()):
        for s, seed in enumerate(SEEDS):
            model, _, _ = train_alone(together[k], None, seed, outcome.calibration, fidelity)
            weight = cohort.members.heads.weight[s, k]
            assert relative_difference(weight, model.head.weight) < 1e-4
            assert relative_difference(plain.members.heads.weight[s, k], weight) > 1e-2


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("trainer", [Cohort, OneByOne])
@pytest.mark.parametrize("kind", [None, "learned", "pedcc"])
def test_a_training_with_rungs_equals_one_without(trainer, kind, optimizer):
    names = ["cross_entropy", "mse", "ngl"] if kind is None else ["am_softmax", "center"]
    rate = 0.1 if optimizer == "sgd" else 0.01
    fidelity = TrainingSettings(steps=30, seeds=2, rungs=(6, 15), optimizer=optimizer, learning_rate=rate)
    whole = trainer(TrainingPlan(formulas(names), kind, TASK, fidelity, SEEDS)).train_and_score()
    parts = [trainer(TrainingPlan(formulas([name]), kind, TASK, fidelity, SEEDS)) for name in names]
    for part in parts:
        part.train_and_score(6)
    states = [state for part in parts for state in part.states()]
    second = trainer(TrainingPlan(formulas(names), kind, TASK, fidelity, SEEDS, states=states))
    second.train_and_score(15)
    assert [state.step for state in second.states()] == [15] * len(names)
    last = trainer(TrainingPlan(formulas(names)[::-1], kind, TASK, fidelity, SEEDS, states=second.states()[::-1]))
    assert last.train_and_score() == whole[::-1]


@pytest.mark.parametrize("kind", [None, "learned"])
def test_scores_at_a_rung_use_the_mean_of_the_last_quarter_of_iterates(kind):
    names = ["cross_entropy", "mse"] if kind is None else ["am_softmax"]
    fidelity = TrainingSettings(steps=40, seeds=2, rungs=(20,))
    assert fidelity.averaged_from(20) == 15
    assert fidelity.averaged_from(40) == 40
    together = Cohort(TrainingPlan(formulas(names), kind, TASK, fidelity, SEEDS)).train_and_score(20)
    alone = OneByOne(TrainingPlan(formulas(names), kind, TASK, fidelity, SEEDS)).train_and_score(20)
    for k, (ours, theirs) in enumerate(zip(together, alone, strict=True)):
        assert ours.fitness == pytest.approx(theirs.fitness, abs=1 / 450 + 1e-9)
        training = Training(loss_for(formulas(names)[k], TASK, fidelity, kind), TASK, fidelity, 11, theirs.calibration)
        iterates = []
        for step in range(1, 21):
            training.run(step)
            iterates.append([parameter.detach().clone() for parameter in training.parameters])
        for place, parameter in enumerate(training.parameters):
            parameter.data = torch.stack([iterate[place] for iterate in iterates[15:]]).mean(0)
        expected = training.metric_on(TASK.load().validation)
        assert theirs.fitness[0] == pytest.approx(expected, abs=1 / 450 + 1e-9)


def test_failed_candidates_are_dropped_and_recorded_alike_in_any_cohort():
    diverging = [f"square(ce(z))*lse_c(square(z))*exp(square(z))*{k}" for k in range(1, 4)]
    texts = ["ce(z)", *diverging, "square(p - y)", "sum_c(y)"]
    fidelity = TrainingSettings(steps=40, seeds=2, learning_rate=2.0)
    mixed = Cohort(TrainingPlan([parse(text) for text in texts], None, TASK, fidelity, SEEDS))
    outcomes = mixed.train_and_score()
    assert mixed.alive == [0, 4]
    assert [state is not None for state in mixed.states()] == [k in (0, 4) for k in range(6)]
    for text, outcome in zip(texts, outcomes, strict=True):
        assert Cohort(TrainingPlan([parse(text)], None, TASK, fidelity, SEEDS)).train_and_score() == [outcome]


class HostCalls(TorchDispatchMode):
    """Recorder of the calls that take or return a tensor on the host, or that read a value."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
        name = function.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero") or any(tensor.device.type == "cpu" for tensor in tensors):
            self.names.append(name)
        return result


def is_short(case):
    """Return True if the case is traced quickly. Every network and every kind of class weights has such a case."""
    network, kind = case
    return network not in DENSE or kind in ("pedcc", "sub_centers")


@pytest.mark.parametrize(
    ("network", "kind"),
    long_unless(
        [(network, kind) for kind in (None, "learned", "pedcc", "sub_centers") for network in BATCHABLE], is_short
    ),
)
def test_a_step_stays_on_its_device_so_that_a_gpu_can_replay_it(network, kind):
    """torch's device without data, "meta", takes the place of a GPU."""
    augmented = {"noise": 0.2} if network in DENSE else AUGMENTED
    fidelity = TrainingSettings(steps=8, seeds=2, network=network, hidden=12, weight_decay=0.1, **augmented)
    together = [*formulas(KINDS[kind]), *([parse("1/z + z")] if kind is None else [])]
    begun = Cohort(TrainingPlan(together, kind, task_for(network), fidelity, SEEDS))
    begun.train_and_score(4)
    states = [state for state in begun.states() if state is not None]
    going_on = [formula for formula, state in zip(together, begun.states(), strict=True) if state is not None]
    cohort = Cohort(TrainingPlan(going_on, kind, task_for(network), fidelity, SEEDS, torch.device("meta"), states))
    cohort._start()
    cohort.members.start_averaging()
    with HostCalls() as host:
        cohort._take_step()
        cohort._take_step()
    assert host.names == []


def test_calls_on_the_host_are_recorded():
    on_device, here = torch.zeros(3, device="meta"), torch.tensor([0, 1])
    for forbidden in (
        lambda: on_device[here],
        lambda: here.to("meta"),
        lambda: on_device.index_select(0, here.to("meta")),
    ):
        with HostCalls() as host:
            forbidden()
        assert host.names


def test_a_finished_cohort_is_freed_without_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        cohort = Cohort(
            TrainingPlan(formulas(["cross_entropy", "mse"]), None, TASK, TrainingSettings(steps=4, seeds=1), SEEDS[:1])
        )
        cohort.train_and_score()
        gone = weakref.ref(cohort)
        del cohort
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("network", BATCHABLE)
def test_a_gpu_trains_as_the_cpu_does(network):
    fidelity = TrainingSettings(steps=50, seeds=2, network=network, hidden=24, noise=0.2)
    together = formulas(["cross_entropy", "focal", "ngl", "mse"])
    here, there = (
        Cohort(TrainingPlan(together, None, task_for(network), fidelity, SEEDS, torch.device(kind)))
        for kind in ("cpu", "cuda")
    )
    for ours, theirs in zip(there.train_and_score(), here.train_and_score(), strict=True):
        assert ours.fitness == pytest.approx(theirs.fitness, abs=0.02)
    assert relative_difference(there.members.heads.weight.cpu(), here.members.heads.weight) < 1e-2
