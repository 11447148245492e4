"""Keep the results of searches, and write docs/evidence.md from them.

With a run's directory, its leaderboard, tuned losses, verdicts and the metric of every training behind them are copied
to experiments/evidence/NAME as Parquet. The page is made of these files alone. ``--judge`` judges the kept trainings
again, for use after a change of the rules.
"""

import argparse
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lossearch.evaluators.tasks import TASKS
from lossearch.results.findings.table_text import signed
from lossearch.results.findings.tuned_losses import TunedLoss, read_tuned, write_tuned
from lossearch.results.findings.verdict_table import FILE, VerdictTable, read_verdicts, scene_folder
from lossearch.results.findings.verdicts import Judged, SceneMeasurements, Verdict, verdicts
from lossearch.results.records import METRICS, Measurement
from lossearch.results.statistics.intervals import interval_text
from lossearch.results.statistics.paired_tests import LEVEL
from lossearch.results.storage.store import RecordStore
from lossearch.results.storage.tables import read_records, write_records
from lossearch.studies.comparison import ComparisonDirectory
from lossearch.studies.verdict import samples_of_validation

ROOT = Path(__file__).parent.parent
KEPT, PAGE = ROOT / "experiments" / "evidence", ROOT / "docs" / "evidence.md"

#: File with the metric of every training behind the verdicts.
MEASURED = "measurements.parquet"

HEAD = """# What searches found, and what may be claimed about it

**The question.** Can a search find a loss that beats every known loss? A family of tasks counts as won if, on the
test split:

1. The loss is ahead of every known loss, each tuned with the same budget: the 95 % interval of the paired difference
   over the seeds lies above zero.
2. It is ahead of the best loss of a random search by the same rule.
3. The p-value is below 0.05, also after multiplying it by the number of rounds that the family was searched.

**The answer so far.** One line for each family: its last round, and the loss judged best on the family's own task.
"""

BACKGROUND = """
**What to keep in mind.** These are small tasks, small networks and short trainings. Few labels, noisy labels and the
long tail are all judged on the same 449 test images of digits, nine times in all. The p-values count only the rounds of
one family. Counting all nine looks, the long tail's is 0.0033 instead of 0.0011, and that of noisy labels 0.053 instead
of 0.018.

The rest of this page says how this was measured and has every table. Behind each table are the files
`experiments/evidence/FAMILY/*.parquet`: `leaderboard`, `tuned`, `verdicts`, and `measurements` with one row for each
training. `benchmarks/evidence.py` writes this page from them.

## How it was measured

Three commands for each family, with the seed that its file has had from the beginning:

```
lossearch search FAMILY --run-dir runs/FAMILY
lossearch tune runs/FAMILY --top K --trials N --seeds S
lossearch compare runs/FAMILY --seeds M
```

1. **Search.** The random search trained as many candidates as the search.
2. **Tune.** The best losses of both and every known loss of the catalogue got the same number of settings on the
   validation split, the learning rate among them.
3. **Judge.** The three losses of the search that were best there, the best of the random search and all known losses
   were trained under fresh seeds and measured on the test split. Nothing was chosen on this split.

[Comparisons and verdicts](comparing.md#lossearch-compare-run) has the rules of the verdicts;
[results/findings/verdicts.py](../results/findings/verdicts.py) is the code.

## Rounds

A family was searched again, with other settings, after its test split had been looked at. Its p-values are multiplied
by the number of rounds.

- **First rounds of the digits families.** The search trained at a learning rate of 0.1, at which the known loss that
  won in the end did not look good. Later rounds used the learning rate and settings that were best for known losses
  on the validation split, and retested the leading losses.
- **Long tail, round 3.** The search used all kinds of variation. Plain crossover had not joined terms of known losses
  that are better together on the validation split: label smoothing and logit adjustment.
- **Noisy labels, round 3, and few labels, round 2.** Losses that train nearly like a better one were not tuned,
  because the best ones had been near copies. The verdict had 40 seeds, a number fixed beforehand.
- **Few labels, round 3.** Four populations, and a quarter of all births without parents, because the random search had
  found better losses.
- **Segmentation and verification, round 1.** All of the above except the last point; 10 seeds, because these networks
  take longer.
- **Segmentation, round 2.** Candidates that did well at 50 and 150 steps were trained to the end, 400 steps. With 50
  steps alone the search could not see which known losses win in the end.
- **Segmentation, round 3.** Twice as many candidates; six further seeds judged the tuned settings; the verdict had 16
  seeds, a number fixed beforehand. It ended after its own task for lack of time: no second network and no second task.

## Further limits

- From round 3 of noisy labels on, searches could insert terms of known losses. One of them was
  `logit_adjusted_hinge`, which the test images of the long tail had selected. (The searches of the long tail itself
  could not.) Such a term, with its number, is in 63 formulas of that round, but in none that was judged there, and in
  few formulas of others. Searches now insert terms of the literature only.
- Values after tuning are those by which settings were chosen, and the best of many under few seeds was lucky. The
  exception is round 3 of segmentation, where six further seeds measured them.
- The verdicts apply today's rules to the trainings of that time (`benchmarks/evidence.py --judge`).
"""

#: Verdicts of a loss that is ahead of every known one, by the interval over the seeds.
AHEAD = ("better than every baseline", "split too small")


def take_in(run: Path, name: str) -> None:
    """Copy the files that a run's verdicts follow from."""
    folder = KEPT / name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(run / "leaderboard.parquet", folder)
    shutil.copy(run / "experiment.toml", folder)
    write_tuned(folder, read_tuned(run / "tuning"))
    table = _judged(run / "verdict")
    scenes = [run / "verdict" / scene_folder(name, task) for name, task in table.scenes]
    kept = [measurement for scene in scenes for measurement in _measured(scene)]
    write_records(folder / MEASURED, Measurement, kept)
    write_records(folder / FILE, Verdict, table.lines)


def _measured(scene: Path) -> Iterator[Measurement]:
    """Yield the metric of every training of a scene's comparison.

    Archived comparisons, and seeds beyond those of the comparison, are left out.
    """
    seeds = ComparisonDirectory.recorded(scene).seeds
    measurements, damages = RecordStore(scene / "measurements", Measurement).read()
    assert not damages, damages
    yield from (
        measurement for measurement in measurements if measurement.measure in METRICS and measurement.seed < seeds
    )


def judged_again(folder: Path) -> list[Verdict]:
    """Judge the trainings kept in a folder again."""
    table, tuned = _judged(folder), read_tuned(folder)
    measured: list[Measurement] = read_records(folder / MEASURED, Measurement)
    judged: list[Verdict] = []
    for name in table.scenes:
        of_scene = table.of_scene(name)
        head = of_scene[0]
        here = [measurement for measurement in measured if _trained_as(measurement) == _trained_as(head)]
        losses = {measurement.loss for measurement in here}
        baselines = [loss for loss in tuned if loss.kind == "baseline" and loss.loss in losses]
        baselines.sort(key=lambda baseline: -(-math.inf if baseline.value is None else baseline.value))
        scene = SceneMeasurements(
            name=head.scene,
            measurements=here,
            judged=[Judged(verdict.loss, verdict.rank) for verdict in of_scene],
            baselines=[baseline.loss for baseline in baselines],
            favourite=baselines[0].loss,
            random_search=head.random_search,
            chosen_from=head.chosen_from,
            validation_samples=samples_of_validation(TASKS[tuned[0].task]),
        )
        judged += verdicts(scene)
    return judged


def _trained_as(record: Measurement | Verdict) -> tuple[str, str]:
    """Return the task and the training without its learning rate, which differs between losses."""
    return record.task, record.fidelity.partition("-lr")[0]


def page() -> str:
    """Write the page from all runs that are kept."""
    rounds = _rounds()
    parts = [HEAD, *_goal(rounds), BACKGROUND]
    for family, folders in rounds.items():
        for number, folder in enumerate(folders, start=1):
            title = family if len(folders) == 1 else f"{family}, round {number}"
            parts += [f"## {title}", "", *_tuned(read_tuned(folder)), "", _judged(folder).as_markdown(level=3)]
    return "\n".join(parts)


def _rounds() -> dict[str, list[Path]]:
    """Find the folders of each family, ``FAMILY_1`` and so on, in the order of their rounds."""
    rounds: dict[str, list[Path]] = {}
    for folder in sorted(path for path in KEPT.iterdir() if path.is_dir()):
        family = folder.name.rpartition("_")[0].replace("_", " ").capitalize()
        rounds.setdefault(family, []).append(folder)
    return rounds


def _judged(folder: Path) -> VerdictTable:
    table = read_verdicts(folder)
    assert table is not None, f"{folder}: no verdicts"
    return table


def _goal(rounds: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    """Yield the goal table: the best judged loss of each family's last round, and if it reached the goal."""
    columns = ("family", "rounds", "loss", "mean", "best known loss", "difference", "p", "to random search", "reached")
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    reached = 0
    for family, folders in rounds.items():
        judged = [line for line in _judged(folders[-1]).lines if line.scene == "own" and line.mean is not None]
        best = max(judged, key=lambda verdict: (_reaches(verdict, len(folders)), verdict.mean or 0.0))
        reached += _reaches(best, len(folders))
        cells = (
            family,
            str(len(folders)),
            f"`{best.formula}`",
            f"{best.mean:.4f}",
            f"{best.closest} {best.closest_mean:.4f}",
            f"{signed(best.difference)} ({interval_text(best.low, best.high)})",
            f"{_corrected(best, len(folders)):.2g}",
            f"{signed(best.random_difference)} ({interval_text(best.random_low, best.random_high)})",
            "yes" if _reaches(best, len(folders)) else "no",
        )
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield f"Reached in {reached} of {len(rounds)} families; the goal was 3 of 5."


def _corrected(line: Verdict, rounds: int) -> float:
    return min(1.0, rounds * (1.0 if line.p is None else line.p))


def _reaches(line: Verdict, rounds: int) -> bool:
    of_random_search = (line.random_low or 0.0) > 0.0 and rounds * (line.random_p or 0.0) < LEVEL
    return line.verdict in AHEAD and of_random_search and _corrected(line, rounds) < LEVEL


def _tuned(losses: Sequence[TunedLoss]) -> Iterator[str]:
    """Yield the best loss of each kind on the validation split, and the budget."""
    candidates = max(loss.chosen_from or 0 for loss in losses)
    num_found = sum(loss.kind == "found" for loss in losses)
    num_known = sum(loss.kind == "baseline" for loss in losses)
    trials = max(loss.trials for loss in losses)
    yield (
        f"The search and the random search trained {candidates:,} candidates each. The best {num_found} of each and "
        f"{num_known} known losses got {trials} settings each. The losses judged below were chosen by these values on "
        "the validation split, after tuning:"
    )
    yield ""
    yield "| | best | validation | learning rate |"
    yield "|---|---|---|---|"
    for kind in ("found", "random search", "baseline"):
        of_kind = [loss for loss in losses if loss.kind == kind and loss.value is not None]
        best = max(of_kind, key=lambda loss: loss.value or 0.0)
        rate = best.settings_by_name()["learning_rate"]
        shown = f"`{best.formula}`" if kind != "baseline" else f"{best.loss}: `{best.formula}`"
        yield f"| {kind} | {shown} | {best.value:.4f} | {rate:.3g} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", help="directory of a run that was judged")
    parser.add_argument("--name", help="of the family and round, such as long_tail_2")
    parser.add_argument("--judge", action="store_true", help="judge everything that is kept again")
    chosen = parser.parse_args()
    if (chosen.run is None) is not (chosen.name is None):
        parser.error("expected a run and its --name, or neither to write the page again")
    if chosen.run is not None:
        take_in(chosen.run, chosen.name)
    if chosen.judge:
        for folder in (path for path in KEPT.iterdir() if path.is_dir()):
            write_records(folder / FILE, Verdict, judged_again(folder))
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
