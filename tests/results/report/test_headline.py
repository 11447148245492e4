"""The top of a report: what was found, what may be claimed, what to do next, and how to use the loss."""

import json
import re

import pytest

from lossearch.results.report.contents import gather_contents
from lossearch.results.report.page import render_page
from lossearch.results.report.settings import read_settings
from lossearch.results.storage.store import EvaluationStore
from tests.results.findings.test_tuned_forms import judge, verdict
from tests.results.helpers import evaluation

FIRST, SECOND = "ce(2.5*z)", "ce(cosine)"


@pytest.fixture
def run(tmp_path):
    found = [evaluation("ce(z)", 0, 0.80), evaluation(FIRST, 0, 0.92), evaluation(SECOND, 0, 0.91)]
    EvaluationStore(tmp_path / "evaluations").append(found)
    (tmp_path / "verdict").mkdir()
    return tmp_path


def log_trial(run, loss_id, **facts):
    trial = {"fitness": 0.9, "cross_entropy": 0.85, "difference": 0.05, "difference_std": 0.01, "seeds": 6, **facts}
    event = {"event": "ended", "best": loss_id, "trial": trial}
    (run / "log.jsonl").write_text(json.dumps(event) + "\n")


def test_without_fresh_seeds_no_number_stands_out(run):
    report = gather_contents(run)
    assert report.headline.number is None
    assert "nothing may be claimed" in report.headline.claim
    assert "0.9200" in report.headline.claim
    assert '<strong class="trusted">' not in render_page(report)
    assert report.headline.commands == (f"lossearch tune {run}", f"lossearch compare {run}")


@pytest.mark.parametrize(
    ("facts", "expected", "refused"),
    [
        ({}, "95 % interval +0.0395 to +0.0605", "no difference is shown"),  # 0.05 ± 2.571*0.01/sqrt(6)
        ({"difference_std": 0.1}, "no difference is shown", "no interval"),
        ({"seeds": 2}, "two seeds: no interval", "95 %"),
    ],
)
def test_fresh_seeds_give_the_number_and_three_of_them_an_interval(run, facts, expected, refused):
    log_trial(run, gather_contents(run).rows[0].loss_id, **facts)
    head = gather_contents(run).headline
    assert head.number == "0.9000"
    assert expected in head.limits
    assert refused not in head.limits


def test_the_judged_loss_comes_first_with_its_tuned_numbers(run):
    log_trial(run, gather_contents(run).rows[0].loss_id)
    judge(run, verdict(SECOND, "ce(3*cosine)", 2, "better than every baseline"))
    report = gather_contents(run, top=1)
    assert [survivor.row.rank for survivor in report.survivors] == [2, 1]
    assert report.survivors[0].formula == "ce(3*cosine)"
    assert report.survivors[0].curves[0].loss == "ce(3*cosine)"
    head = report.headline
    assert (head.rank, head.number) == (2, "0.9000")
    assert "better than every baseline" in head.limits
    assert head.advice.startswith("Use it")
    assert "prediction = loss.get_logits(embeddings).argmax(1)" in head.usage
    assert "owns the weights of the last layer" in head.note
    assert "get_logits" in render_page(report)


def test_a_loss_over_logits_is_used_in_three_lines(run):
    usage = gather_contents(run).headline.usage
    assert usage == ("from my_loss import Loss", "loss = Loss()", "value = loss(logits, target)")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"= 1",
        b"a = " + b"[" * 20_000,
        b"a = " + b"9" * 5_000,
        b"task = {}\nfidelity = 3\nevolution = [1]",
    ],
)
def test_a_declaration_of_another_form_has_no_settings(tmp_path, text):
    (tmp_path / "experiment.toml").write_bytes(text)
    assert read_settings(tmp_path, [{"event": "started", "slots": [], "time": 3}]) == []


def test_warnings_of_the_search_stand_at_the_top_and_are_only_data(run):
    texts = ["<script>alert(1)</script>", *(f"sign {number}" for number in range(4)), "sign 0"]
    events = [{"event": "warning", "message": text} for text in texts]
    (run / "log.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    page = render_page(gather_contents(run))
    top = page[page.index('id="summary"') : page.index("<b>Found.</b>")]
    assert re.findall(r"<b>Warning\.</b> (.*)</p>", top) == [
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "sign 0",
        "sign 1",
    ]
    assert "2 more warnings: lossearch status lists them." in top
    (run / "log.jsonl").unlink()
    assert 'class="warnings"' not in render_page(gather_contents(run))
