"""The benchmark of the search's parts: its summary and how it continues, with searches that take no time."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from benchmarks import ablation, parts

#: Gain of a search by its case, added to the gain by its seed.
GAINS = {"plain": 0.02, "family": 0.03, "margin": 0.01}


def line(case, seed, gain, **more):
    facts = {"task": "digits", "population": 40, "generations": 8, "complexity": 4}
    return {"case": case, "seed": seed, "gain": gain} | facts | more


@pytest.fixture
def begun(monkeypatch):
    """Case, task and seed of each search, in the order of their beginnings."""
    searches = []

    def search(declared, run_dir):
        evolution = declared.evolution
        case = "family" if evolution.family_mutation else "margin" if evolution.margin else "plain"
        searches.append((case, declared.task, declared.seed))
        row = SimpleNamespace(difference_to_cross_entropy=0.1, complexity=3, formula="ce(z)")
        trial = SimpleNamespace(difference=GAINS[case] + declared.seed / 100)
        return SimpleNamespace(trial=trial, leaderboard=SimpleNamespace(rows=[row]))

    monkeypatch.setattr(ablation, "search", search)
    monkeypatch.setattr(ablation, "ProcessPoolExecutor", ThreadPoolExecutor)
    return searches


@pytest.fixture
def run(begun, monkeypatch, capsys):
    """Function that runs the command and returns its output."""

    def command(*words):
        begun.clear()
        monkeypatch.setattr(sys, "argv", ["ablation", "--tasks", "digits", "--processes", "1", *map(str, words)])
        ablation.main()
        return json.loads(capsys.readouterr().out)

    return command


# Summaries.


def test_gains_are_means_by_task_and_differences_are_paired_by_task_and_seed():
    summary = ablation.summary(
        [
            line("plain", 0, 0.02),
            line("plain", 1, 0.04),
            line("plain", 3, 0.03),
            line("plain", 0, 0.1, task="shapes"),
            line("family", 0, 0.03),
            line("family", 1, 0.06, complexity=7),
            line("family", 3, 0.06, complexity=5),
            line("family", 2, 0.9),  # without a plain search under that seed
        ]
    )
    assert summary["plain"]["gain"] == {"digits": 0.03, "shapes": 0.1}
    assert summary["family"]["difference_to_plain"] == pytest.approx(0.02)  # of 0.01, 0.02 and 0.03
    # Student's t with 2 degrees of freedom is 4.302653 at 97.5 %, and the standard error is 0.01/sqrt(3)
    assert summary["family"]["interval"] == pytest.approx([0.02 - 0.0248, 0.02 + 0.0248])
    assert (summary["family"]["complexity"], summary["family"]["searches"]) == (5.0, 4)


def test_one_pair_and_two_have_no_interval():
    two = [line("plain", 0, 0.02), line("family", 0, 0.03), line("plain", 1, 0.02), line("family", 1, 0.05)]
    assert ablation.summary(two)["family"]["interval"] is None
    summary = ablation.summary([line("plain", 0, 0.02), line("family", 0, 0.03)])
    assert (summary["family"]["difference_to_plain"], summary["family"]["interval"]) == (0.01, None)
    assert "NaN" not in json.dumps(summary)


def test_without_a_plain_search_beside_it_a_case_has_no_difference():
    summary = ablation.summary([line("plain", 0, None), line("family", 0, 0.03), line("family", 1, 0.05)])
    assert (summary["family"]["gain"], summary["family"]["searches"]) == ({"digits": 0.04}, 2)
    assert (summary["family"]["difference_to_plain"], summary["family"]["interval"]) == (None, None)
    assert (summary["plain"]["gain"], summary["plain"]["searches"]) == ({}, 0)


def test_searches_with_different_budgets_are_refused_in_one_summary():
    with pytest.raises(ValueError, match=r"one budget, got \[\(40, 30\), \(40, 8\)\]"):
        ablation.summary([line("plain", 0, 0.02), line("plain", 1, 0.02, generations=30)])


@pytest.mark.parametrize("file", [file for _, file in parts.TABLES])
def test_files_without_a_budget_are_summarised_but_not_extended(file):
    searches = ablation.held(parts.HERE / file)
    assert ablation.summary(searches)["plain"]["searches"] == 20
    with pytest.raises(ValueError, match=r"Expected lines with population, generations, got .* Give --out another"):
        ablation.key_of(searches[0])


# Searches.


def test_the_plain_search_runs_beside_every_case(run, begun):
    printed = run("--cases", "family", "--seeds", 1)
    assert begun == [("plain", "digits", 0), ("family", "digits", 0)]
    assert printed["budget"] == 320
    assert printed["cases"]["family"]["difference_to_plain"] == pytest.approx(0.01)
    assert printed["cases"]["family"]["interval"] is None


def test_searches_in_a_file_are_not_repeated(run, begun, tmp_path):
    out = tmp_path / "new" / "found.jsonl"
    run("--cases", "family", "--seeds", 1, "--out", out)
    first = ablation.held(out)
    assert {(line["population"], line["generations"]) for line in first} == {(40, 8)}
    printed = run("--cases", "family", "margin", "--seeds", 2, "--out", out)
    assert begun == [("margin", "digits", 0), *((case, "digits", 1) for case in ("plain", "family", "margin"))]
    assert ablation.held(out)[:2] == first
    assert run("--cases", "family", "margin", "--seeds", 2, "--out", out) == printed
    assert begun == []


def test_searches_with_another_budget_run_and_are_summarised_separately(run, begun, tmp_path):
    out = tmp_path / "found.jsonl"
    ablation.add(out, line("plain", 0, 0.5))
    printed = run("--cases", "plain", "--seeds", 1, "--generations", 30, "--out", out)
    assert begun == [("plain", "digits", 0)]
    assert (printed["budget"], printed["cases"]["plain"]["gain"]) == (1_200, {"digits": 0.02})
    assert run("--cases", "plain", "--seeds", 1, "--out", out)["cases"]["plain"]["gain"] == {"digits": 0.5}
    assert begun == []


def test_a_file_without_a_budget_is_left_unchanged(run, begun, tmp_path, capsys):
    out = tmp_path / "found.jsonl"
    out.write_text((parts.HERE / "ablation.jsonl").read_text())
    with pytest.raises(SystemExit):
        run("--out", out)
    assert "Give --out another file" in capsys.readouterr().err
    assert (begun, len(ablation.held(out))) == ([], 300)


def test_a_failed_search_is_named_and_the_others_finish_and_are_kept(run, begun, tmp_path, monkeypatch, capsys):
    search, out = ablation.search, tmp_path / "found.jsonl"

    def breaking(declared, run_dir):
        if declared.evolution.family_mutation and declared.seed == 0:
            raise RuntimeError("no memory")
        return search(declared, run_dir)

    monkeypatch.setattr(ablation, "search", breaking)
    with pytest.raises(SystemExit, match="1 of 4 searches failed"):
        run("--cases", "family", "--seeds", 2, "--out", out)
    said = capsys.readouterr()
    assert said.err == "('family', 'digits', 0, 40, 8): RuntimeError: no memory\n"
    assert json.loads(said.out)["cases"]["family"]["searches"] == 1
    assert len(ablation.held(out)) == 3
    monkeypatch.setattr(ablation, "search", search)
    run("--cases", "family", "--seeds", 2, "--out", out)
    assert begun == [("family", "digits", 0)]


def test_finished_searches_are_kept_after_an_interruption(run, tmp_path, monkeypatch):
    out, add = tmp_path / "found.jsonl", ablation.add

    def interrupted(path, found):
        add(path, found)
        raise KeyboardInterrupt

    monkeypatch.setattr(ablation, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("--cases", "plain", "--seeds", 3, "--out", out)
    assert len(ablation.held(out)) == 1
