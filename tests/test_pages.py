"""Pages of figures are made of what was measured, and stay so."""

import pytest

from benchmarks import evidence, parts
from results.record_tables import read_records
from results.records import Measurement
from results.verdict_table import read_verdicts


@pytest.mark.parametrize("page", [evidence, parts])
def test_a_page_is_made_of_what_was_measured(page):
    assert page.PAGE.read_text(encoding="utf-8") == page.page()


def test_all_that_a_verdict_is_based_on_is_kept_beside_it():
    for folder in evidence.KEPT.iterdir():
        table = read_verdicts(folder)
        measured = read_records(folder / "measurements.parquet", Measurement)
        for verdict in table.lines:
            own = [
                each.value
                for each in measured
                if (each.task, each.loss, each.fidelity, each.measure)
                == (verdict.task, verdict.loss, verdict.fidelity, verdict.measure)
            ]
            assert len(own) == verdict.seeds
            assert sum(own) / len(own) == pytest.approx(verdict.mean)
