"""Pages of figures follow from their measurements."""

import re

import pytest
import torch

import lossearch
from benchmarks import evidence, parts, reading
from lossearch.primitives.catalog import CATALOG
from lossearch.results.findings.verdict_table import read_verdicts
from lossearch.results.records import Measurement
from lossearch.results.storage.tables import read_records
from tests.long_cases import long_unless
from tests.lossearch.small import finished_run


@pytest.mark.parametrize("page", [evidence, parts, reading])
def test_a_page_follows_from_its_measurements(page):
    assert page.PAGE.read_text(encoding="utf-8") == page.page()


@pytest.mark.parametrize("loss", [loss for loss in CATALOG.values() if loss.origin == "discovered"], ids=str)
def test_every_discovered_loss_was_judged_better_than_every_baseline(loss):
    logits, target = 3.0 * torch.randn(64, 5, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 5
    prior = [0.4, 0.3, 0.15, 0.1, 0.05]
    value = loss.module(prior=prior)(logits, target)
    verdicts = [line for folder in evidence.KEPT.iterdir() for line in read_verdicts(folder).lines]
    better = {verdict.formula for verdict in verdicts if verdict.verdict == "better than every baseline"}
    assert any(torch.isclose(value, lossearch.loss(formula, prior=prior)(logits, target)) for formula in better)


def test_the_measurements_behind_every_verdict_are_kept():
    for folder in evidence.KEPT.iterdir():
        table = read_verdicts(folder)
        measured = read_records(folder / "measurements.parquet", Measurement)
        for verdict in table.lines:
            values = [
                measurement.value
                for measurement in measured
                if (measurement.task, measurement.loss, measurement.fidelity, measurement.measure)
                == (verdict.task, verdict.loss, verdict.fidelity, verdict.measure)
            ]
            assert len(values) == verdict.seeds
            assert sum(values) / len(values) == pytest.approx(verdict.mean)


NAMES = sorted(folder.name for folder in evidence.KEPT.iterdir())


@pytest.mark.parametrize("name", long_unless(NAMES, ("few_labels_1",)))
def test_verdicts_follow_from_the_kept_measurements(name):
    assert evidence.judged_again(evidence.KEPT / name) == read_verdicts(evidence.KEPT / name).lines


def test_every_column_of_every_file_is_described():
    for _, record, source, _ in reading.FILES:
        for name, _, comment in reading.declared(reading.ROOT / source, record):
            assert comment, f"{record}.{name}"


@pytest.mark.parametrize("recipe", re.findall(r"```python\n(.*?)```", reading.HEAD, re.DOTALL))
def test_a_recipe_reads_a_run(recipe, small_run, monkeypatch, capsys):
    monkeypatch.chdir(small_run)
    exec(compile(recipe, "recipe", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) > 4  # heads, and a line at least


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """A directory with a run called runs/a."""
    folder = tmp_path_factory.mktemp("read")
    finished_run(folder / "runs" / "a")
    return folder
