import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lossearch.evaluators.evaluation import evaluate
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import TASKS
from lossearch.evaluators.training.attached_loss import loss_for
from lossearch.evaluators.training.calibration import calibration_factor
from lossearch.evaluators.training.outcome import TrainingFailed
from lossearch.evaluators.training.start import build_model, draw_batches, one_hot
from lossearch.evaluators.training.training import train_and_score
from lossearch.evaluators.work import Candidate, Work, training_seed
from lossearch.primitives.language.parser import parse

TASK, SHORT = TASKS["digits"], TrainingSettings(steps=40, seeds=2)


def candidate(text, number=1):
    formula = parse(text)
    return Candidate(f"id{number}", text, formula.size, 0, "known", number)


def test_cross_entropy_learns_the_digits():
    loss = loss_for(parse("ce(z)"), TASK, SHORT)
    assert train_and_score(loss, TASK, TrainingSettings(steps=150), seed=3, calibration=1.0) > 0.9


@pytest.mark.parametrize("text", ["exp(2.4092 - p*(1 + y)) - cos(cos(sin(p)))", "ce(30*(cosine - 0.35*y))"])
def test_one_seed_gives_one_fitness(text):
    def fitness(seed):
        return train_and_score(loss_for(parse(text), TASK, SHORT), TASK, SHORT, seed, 0.1)

    assert fitness(1) == fitness(1)


def test_our_cross_entropy_trains_as_torchs_does():
    ours = train_and_score(loss_for(parse("ce(z)"), TASK, SHORT), TASK, SHORT, 5, 1.0)
    assert ours == train_and_score(nn.CrossEntropyLoss(), TASK, SHORT, 5, 1.0)


def test_every_loss_starts_from_the_seeds_weights_and_sees_the_seeds_batches():
    first, other = build_model(TASK, SHORT, 9), build_model(TASK, SHORT, 9)
    assert torch.equal(first.head.weight, other.head.weight)
    assert torch.equal(first.backbone.hidden.weight, other.backbone.hidden.weight)
    assert torch.equal(torch.cat(draw_batches(800, SHORT, 9)), torch.cat(draw_batches(800, SHORT, 9)))
    assert not torch.equal(first.head.weight, build_model(TASK, SHORT, 10).head.weight)


def test_an_epoch_sees_every_sample_once():
    epoch = torch.cat(draw_batches(640, TrainingSettings(steps=10, batch_size=64), 0))
    assert sorted(epoch.tolist()) == list(range(640))


@pytest.mark.parametrize(("text", "expected"), [("ce(z)", 1.0), ("10*ce(z)", 0.1), ("ce(z) + 3", 1.0)])
def test_calibration_cancels_a_factor(text, expected):
    assert calibration_factor(loss_for(parse(text), TASK, SHORT), TASK, SHORT, 0) == pytest.approx(expected, rel=1e-4)


def test_a_calibrated_loss_has_cross_entropys_gradient_size_at_the_embedding():
    formula = parse("ce(30*(cosine - 0.35*y))")
    factor = calibration_factor(loss_for(formula, TASK, SHORT), TASK, SHORT, 0)
    model, train = build_model(TASK, SHORT, 0), TASK.load().train
    batch = draw_batches(len(train), SHORT, 0)[0]
    embeddings = model.backbone(train.inputs[batch]).detach().requires_grad_()
    loss = loss_for(formula, TASK, SHORT)
    loss.weight.data.copy_(model.head.weight)
    target = one_hot(train.targets, 10)[batch]
    (ours,) = torch.autograd.grad(factor * loss(embeddings, target), embeddings)
    (theirs,) = torch.autograd.grad(F.cross_entropy(model.head(embeddings), target), embeddings)
    assert ours.norm().item() == pytest.approx(theirs.norm().item(), rel=1e-4)


def test_a_flat_loss_cannot_be_calibrated():
    with pytest.raises(TrainingFailed, match="the first gradient at the embedding is 0 or not finite"):
        calibration_factor(loss_for(parse("sum_c(y)"), TASK, SHORT), TASK, SHORT, 0)


def test_a_diverging_loss_is_a_failure_with_a_reason_and_not_an_exception():
    diverging = TrainingSettings(steps=40, seeds=3, learning_rate=100.0, momentum=0.99)
    (evaluation,) = evaluate(Work((candidate("square(ce(z))*lse_c(square(z))"),), "digits", diverging, 0)).evaluations
    assert (evaluation.status, evaluation.fitness) == ("failed", None)
    assert evaluation.reason.startswith("diverged")


def test_an_evaluation_has_one_record_a_seed_and_depends_on_its_work_alone():
    torch.manual_seed(1)
    first = evaluate(Work((candidate("ce(z)"),), "digits", SHORT, 7)).evaluations
    torch.manual_seed(2)
    together = evaluate(Work((candidate("abs(p - y)", 2), candidate("ce(z)")), "digits", SHORT, 7)).evaluations
    assert [evaluation.seed for evaluation in first] == [0, 1]
    assert [evaluation.fitness for evaluation in first] == [evaluation.fitness for evaluation in together[2:]]
    assert [evaluation.evaluation_id for evaluation in first] == [
        evaluation.evaluation_id for evaluation in together[2:]
    ]
    assert len({evaluation.evaluation_id for evaluation in together}) == 4


def test_training_seeds_differ_by_run_and_by_index_and_not_by_candidate():
    def seed(run_seed, index, text="ce(z)"):
        return training_seed(Work((candidate(text),), "digits", SHORT, run_seed), index)

    assert len({seed(0, 0), seed(0, 1), seed(1, 0), seed(1, 1)}) == 4
    assert seed(0, 0) == seed(0, 0, "abs(p - y)")


def test_progress_reaches_a_loss_over_progress():
    early = loss_for(parse("ce(z)*(1 - floor(progress + 0.5))"), TASK, SHORT)  # trains only in the first half
    half = train_and_score(early, TASK, SHORT, 3, 1.0)
    never = loss_for(parse("ce(z)*floor(progress/2) + 0*at_target(z)"), TASK, SHORT)
    assert half > 0.5 > train_and_score(never, TASK, SHORT, 3, 1.0)


def test_neither_python_nor_torchs_global_generator_moves():
    import random

    torch.manual_seed(0)
    random.seed(0)
    before = (torch.get_rng_state(), random.getstate())
    evaluate(Work((candidate("ce(30*(cosine - 0.35*y))"),), "digits", SHORT, 7))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


@pytest.mark.parametrize("kind", ["learned", "pedcc", "sub_centers"])
def test_class_weights_of_every_kind_train(kind):
    loss = loss_for(parse("ce(16*(cosine - 0.2*y))"), TASK, SHORT, kind)
    start = loss.weight.detach().clone()
    factor = calibration_factor(loss, TASK, SHORT, 3)
    fitness = train_and_score(loss, TASK, TrainingSettings(steps=150), 3, factor)
    assert fitness > 0.8
    assert torch.equal(loss.weight, start) is (kind == "pedcc")
    assert fitness == train_and_score(
        loss_for(loss.formula, TASK, SHORT, kind), TASK, TrainingSettings(steps=150), 3, factor
    )


@pytest.mark.parametrize("text", ["ce(z + log(prior))", "(1 - progress)*ce(z) - progress*log(max_c(p))", "ce(-dist2)"])
def test_training_provides_every_terminal(text):
    loss = loss_for(parse(text), TASK, SHORT)
    factor = calibration_factor(loss, TASK, SHORT, 3)
    assert train_and_score(loss_for(parse(text), TASK, SHORT), TASK, TrainingSettings(steps=150), 3, factor) > 0.8
