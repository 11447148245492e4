"""What searches found and what may be said of it: takes in a judged run, and writes docs/evidence.md.

With a run's directory, its leaderboard, its tuned losses, its verdicts and the metric of every training that they
follow from are kept in experiments/evidence/NAME as Parquet; the page is made of these alone.
"""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from results.record_tables import write_records
from results.records import METRICS, Measurement
from results.store import RecordStore
from results.tuned_losses import TunedLoss, read_tuned, write_tuned
from results.verdict_table import VerdictTable, read_verdicts

ROOT = Path(__file__).parent.parent
KEPT, PAGE = ROOT / "experiments" / "evidence", ROOT / "docs" / "evidence.md"

HEAD = """# What searches found, and what may be said of it

Each family was searched, tuned and judged by three commands, with the seed that its file has had from the beginning:

```
lossearch search FAMILY --run-dir runs/FAMILY
lossearch tune runs/FAMILY --top 12 --trials 16 --seeds 3
lossearch compare runs/FAMILY --seeds 20
```

The twelve best losses that the search found, the twelve best of a random search that trained as many candidates, and
every known loss of the catalogue got 16 settings each, the learning rate among them, on the validation split. The three
found ones that were best there, the best of the random search and all known losses were then trained under 20 fresh
seeds and measured on the test split, which nothing was chosen by. "Better than every baseline" is said where a loss
is better than each known loss by interval and p-value, over seeds and over samples of the split; how, stands in
[results/verdicts.py](../results/verdicts.py). Behind each table stand `experiments/evidence/FAMILY/*.parquet`:
`leaderboard`, `tuned`, `verdicts`, and `measurements`, one row for each training.
"""


def take_in(run: Path, name: str) -> None:
    """Keep what a run's verdicts follow from."""
    folder = KEPT / name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(run / "leaderboard.parquet", folder)
    shutil.copy(run / "experiment.toml", folder)
    write_tuned(folder, read_tuned(run / "tuning"))
    table = read_verdicts(run / "verdict")
    assert table is not None, f"{run}: not judged yet"
    scenes = sorted(each for each in (run / "verdict").iterdir() if (each / "measurements").is_dir())
    kept = [each for scene in scenes for each in _measured(scene)]
    write_records(folder / "measurements.parquet", Measurement, kept)
    table.write(folder)


def _measured(scene: Path) -> Iterator[Measurement]:
    found, damages = RecordStore(scene / "measurements", Measurement).read()
    assert not damages, damages
    yield from (each for each in found if each.measure in METRICS)


def page() -> str:
    """The page of all runs that are kept."""
    parts = [HEAD]
    for folder in sorted(each for each in KEPT.iterdir() if each.is_dir()):
        table = read_verdicts(folder)
        assert table is not None
        parts += [f"## {folder.name.replace('_', ' ').capitalize()}", "", *_tuned(read_tuned(folder)), "", _rest(table)]
    return "\n".join(parts)


def _rest(table: VerdictTable) -> str:
    return table.as_markdown(level=3)


def _tuned(losses: list[TunedLoss]) -> Iterator[str]:
    """How the best of each kind stood on the validation split."""
    yield "On the validation split after tuning, by which the losses below were chosen:"
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
    parser.add_argument("--name", help="of the family; the run's directory if left out")
    chosen = parser.parse_args()
    if chosen.run is not None:
        take_in(chosen.run, chosen.name or chosen.run.resolve().name)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
