"""What searches found and what may be said of it: takes in a judged run, and writes docs/evidence.md.

With a run's directory, its leaderboard, its tuned losses, its verdicts and the metric of every training that they
follow from are kept in experiments/evidence/NAME as Parquet; the page is made of these alone. ``--judge`` judges the
kept trainings again, where the rules of verdicts have changed.
"""

import argparse
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lossearch.evaluators.tasks import TASKS
from lossearch.results.findings.tuned_losses import TunedLoss, read_tuned, write_tuned
from lossearch.results.findings.verdict_table import FILE, VerdictTable, interval_text, read_verdicts, signed
from lossearch.results.findings.verdicts import LEVEL, Judged, SceneMeasurements, Verdict, verdicts
from lossearch.results.records import METRICS, Measurement
from lossearch.results.storage.store import RecordStore
from lossearch.results.storage.tables import read_records, write_records
from lossearch.studies.comparison import ComparisonDirectory
from lossearch.studies.verdict import folder_of, samples_of_validation

ROOT = Path(__file__).parent.parent
KEPT, PAGE = ROOT / "experiments" / "evidence", ROOT / "docs" / "evidence.md"

#: The file with the metric of every training that verdicts follow from.
MEASURED = "measurements.parquet"

HEAD = """# What searches found, and what may be said of it

Each family was searched, tuned and judged by three commands, with the seed that its file has had from the beginning:

```
lossearch search FAMILY --run-dir runs/FAMILY
lossearch tune runs/FAMILY --top K --trials N --seeds S
lossearch compare runs/FAMILY --seeds N
```

The best losses that the search found, the best of a random search that trained as many candidates, and every known loss
of the catalogue got as many settings each, the learning rate among them, on the validation split. The three found ones
that were best there, the best of the random search and all known losses were then trained under fresh seeds and
measured on the test split, which nothing was chosen by. "Better than every baseline" is said where a loss is better
than each known loss by interval and p-value, over seeds and, where the metric tells of samples, which mean IoU does
not, over samples of the split; how, stands in [results/findings/verdicts.py](../results/findings/verdicts.py). "Split
too small" is a loss that is ahead of every known loss by the interval over the seeds, though on other samples it may
not be. Behind each table stand `experiments/evidence/FAMILY/*.parquet`: `leaderboard`, `tuned`, `verdicts`, and
`measurements`, one row for each training; `benchmarks/evidence.py` makes this page of them.

Some families were searched in rounds, each with other settings: the test split had been looked at when a later round
was made, and p-values are multiplied by the number of rounds. In the first ones the search trained at a learning rate
of 0.1, where it could not see how good the known loss was that won in the end; after that learning rate and settings
were those that were best for known losses on the validation split, and the leading losses were retested. In the third
one on the long tail the search also varied by all kinds, since plain crossover did not join terms of which known losses
are made: label smoothing and logit adjustment, which are better together on the validation split. In the third one on
noisy labels and the second on few labels, losses that train nearly as a better one does were not tuned, since the
best had been near copies, and the verdict had 40 seeds, as was fixed before. In the third one on few labels, where
the random search had found better ones, there were four populations and a quarter of all births had no parents.
The first rounds of segmentation and verification had all of this but the last, and 10 seeds, since their networks take
longer. In the second one on segmentation candidates that did well at 50 and at 150 steps were trained to the end, 400:
by 50 steps alone the search could not see which known losses win in the end. In the third one the search was twice as
long, six further seeds told what the tuned settings were worth, and the verdict had 16 seeds, as was fixed before. It
was stopped after its own task, since there was no more time: no second network and no second task were tried.

What else is to be known:

- Few labels, noisy labels and the long tail are judged on the same 449 test images of digits, nine times in all, and
  p-values below are multiplied by a family's own rounds only. By nine, the long tail's is still below 0.001, that of
  noisy labels 0.064.
- From the third round of noisy labels on, but not in the long tail's, searches could insert terms of known losses, and
  `logit_adjusted_hinge` was one of these, which the long tail's test images had called better. Such a term, with its
  number, is in 63 formulas of the third round of noisy labels, though in none that was judged there; in few in others.
  Searches insert terms of the literature alone by now.
- Values after tuning are those by which settings were chosen, in all runs but the third of segmentation, where six
  further seeds told them: the best of many under few seeds was lucky.
- Verdicts are those of today's rules on the trainings of then (`benchmarks/evidence.py --judge`).

## The goal, and how far it was reached

A discovered loss that is ahead of every known loss on the test split, each tuned with the same budget, by the 95 %
interval of the paired difference over the seeds, and ahead of the best of the random search likewise; with a p-value
below 0.05 also when it is multiplied by the number of rounds.
"""

#: Verdicts of a loss that is ahead of every known one by the interval over the seeds.
AHEAD = ("better than every baseline", "split too small")


def take_in(run: Path, name: str) -> None:
    """Keep what a run's verdicts follow from."""
    folder = KEPT / name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(run / "leaderboard.parquet", folder)
    shutil.copy(run / "experiment.toml", folder)
    write_tuned(folder, read_tuned(run / "tuning"))
    table = _judged(run / "verdict")
    scenes = [run / "verdict" / folder_of(name, task) for name, task in table.scenes]
    kept = [each for scene in scenes for each in _measured(scene)]
    write_records(folder / MEASURED, Measurement, kept)
    write_records(folder / FILE, Verdict, table.lines)


def _measured(scene: Path) -> Iterator[Measurement]:
    """The metric of every training of a scene's comparison, and of none that was set aside or under more seeds."""
    seeds = ComparisonDirectory.recorded(scene).seeds
    found, damages = RecordStore(scene / "measurements", Measurement).read()
    assert not damages, damages
    yield from (each for each in found if each.measure in METRICS and each.seed < seeds)


def judged_again(folder: Path) -> list[Verdict]:
    """The verdicts that follow from what is kept in a folder."""
    table, tuned = _judged(folder), read_tuned(folder)
    measured: list[Measurement] = read_records(folder / MEASURED, Measurement)
    found: list[Verdict] = []
    for name in table.scenes:
        own = table.of_scene(name)
        head = own[0]
        here = [each for each in measured if _trained_as(each) == _trained_as(head)]
        losses = {each.loss for each in here}
        baselines = [each for each in tuned if each.kind == "baseline" and each.loss in losses]
        baselines.sort(key=lambda each: -(-math.inf if each.value is None else each.value))
        scene = SceneMeasurements(
            name=head.scene,
            measurements=here,
            judged=[Judged(each.loss, each.rank) for each in own],
            baselines=[each.loss for each in baselines],
            favourite=baselines[0].loss,
            random_search=head.random_search,
            chosen_from=head.chosen_from,
            validation_samples=samples_of_validation(TASKS[tuned[0].task]),
        )
        found += verdicts(scene)
    return found


def _trained_as(found: Measurement | Verdict) -> tuple[str, str]:
    """The task, and the training but for its learning rate, which is each loss's own."""
    return found.task, found.fidelity.partition("-lr")[0]


def page() -> str:
    """The page of all runs that are kept."""
    rounds = _rounds()
    parts = [HEAD, *_goal(rounds), ""]
    for family, folders in rounds.items():
        for number, folder in enumerate(folders, start=1):
            title = family if len(folders) == 1 else f"{family}, round {number}"
            parts += [f"## {title}", "", *_tuned(read_tuned(folder)), "", _judged(folder).as_markdown(level=3)]
    return "\n".join(parts)


def _rounds() -> dict[str, list[Path]]:
    """The folders of each family, ``FAMILY_1`` and so on, in the order of their rounds."""
    found: dict[str, list[Path]] = {}
    for folder in sorted(each for each in KEPT.iterdir() if each.is_dir()):
        family = folder.name.rpartition("_")[0].replace("_", " ").capitalize()
        found.setdefault(family, []).append(folder)
    return found


def _judged(folder: Path) -> VerdictTable:
    table = read_verdicts(folder)
    assert table is not None, f"{folder}: no verdicts"
    return table


def _goal(rounds: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    """Of each family's last round the loss that is judged best on its own task, and whether it reached the goal."""
    columns = ("family", "rounds", "loss", "mean", "best known loss", "difference", "p", "to random search", "reached")
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    reached = 0
    for family, folders in rounds.items():
        own = [each for each in _judged(folders[-1]).lines if each.scene == "own" and each.mean is not None]
        best = max(own, key=lambda each: (_reaches(each, len(folders)), each.mean or 0.0))
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
    yield f"Reached in {reached} of {len(rounds)} families; it was to be reached in 3 of 5."


def _corrected(line: Verdict, rounds: int) -> float:
    return min(1.0, rounds * (1.0 if line.p is None else line.p))


def _reaches(line: Verdict, rounds: int) -> bool:
    of_random_search = (line.random_low or 0.0) > 0.0 and rounds * (line.random_p or 0.0) < LEVEL
    return line.verdict in AHEAD and of_random_search and _corrected(line, rounds) < LEVEL


def _tuned(losses: Sequence[TunedLoss]) -> Iterator[str]:
    """How the best of each kind stood on the validation split, and what was spent."""
    candidates = max(each.chosen_from or 0 for each in losses)
    found = sum(each.kind == "found" for each in losses)
    known = sum(each.kind == "baseline" for each in losses)
    trials = max(each.trials for each in losses)
    yield (
        f"{candidates:,} candidates were trained by the search and as many by the random one; the best {found} of each "
        f"and {known} known losses got {trials} settings each. On the validation split after tuning, by which the "
        "losses below were chosen:"
    )
    yield ""
    yield "| | best | validation | learning rate |"
    yield "|---|---|---|---|"
    for kind in ("found", "random search", "baseline"):
        own = [each for each in losses if each.kind == kind and each.value is not None]
        best = max(own, key=lambda each: each.value or 0.0)
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
        for folder in (each for each in KEPT.iterdir() if each.is_dir()):
            write_records(folder / FILE, Verdict, judged_again(folder))
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
