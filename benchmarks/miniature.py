"""Copy a run of ``lossearch compare miniature``, and write experiments/README.md from the kept files.

With a run's directory its measurements are copied to experiments/miniature as Parquet. The page is made of these files
alone.
"""

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import fidelity
from lossearch.results.findings.comparison import ComparisonTable, Line, as_markdown
from lossearch.results.findings.table_text import code
from lossearch.results.records import Measurement
from lossearch.results.storage.store import RecordStore
from lossearch.results.storage.tables import read_records, write_records

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
KEPT, PAGE, BASELINE = EXPERIMENTS / "miniature", EXPERIMENTS / "README.md", "cross_entropy"


@dataclass(frozen=True)
class Twin:
    """A paper's tables and their miniature: losses on tasks, beside cross-entropy."""

    title: str
    of: str
    losses: tuple[str, ...]
    tasks: tuple[str, ...]


TWINS = (
    Twin(
        "PEDCC-Loss",
        "Tables 1 to 3 of Zhu et al. 2019: margin losses and losses with centers on characters, objects and faces "
        "(pedcc_table_1, pedcc_table_2, pedcc_table_3). Here shapes represent objects, and glyphs of identities that "
        "were never trained on represent faces.",
        ("hinge", "l_softmax", "a_softmax", "center", "am_softmax", "arcface_monotone", "pedcc"),
        ("shapes", "glyphs"),
    ),
    Twin(
        "Next Generation Loss",
        "Its seven data sets and its segmentation (ngl_classification, ngl_segmentation): against symmetric "
        "cross-entropy and focal loss.",
        ("symmetric_cross_entropy", "focal", "ngl"),
        ("digits", "digits_noisy", "digits_long_tail", "digits_few_labels", "shapes", "shapes_segmentation"),
    ),
    Twin(
        "EmoSynthNet's losses",
        "Table 4.1 of Nabaei 2024, and its tables on faces (emosynthnet_table_4_1, emosynthnet_fer).",
        ("focal", "nabaei_sce", "mam_softmax", "am_softmax", "arcface_monotone"),
        ("digits", "shapes"),
    ),
)

HEAD = """# The papers' tables, and their miniatures

Each table of the papers has a TOML file here with its protocol, its data, the figures that the paper reports
and every deviation. `lossearch compare pedcc_table_1` runs one. They need downloaded data and a GPU. None has been run
yet, so no figures of ours stand beside the papers'.

`lossearch compare miniature` has been run: {losses} losses on {tasks} tasks that need no download.

1. Every loss is trained under {seeds} seeds and measured on the test split. Nothing was chosen on this split.
2. Every loss, also cross-entropy, was tuned with the same budget: {tune} settings of the learning rate and its own
   margins, scales and constants, judged on the validation split under two other seeds.
3. Differences are paired by seed. Intervals and p-values are those of the sign-flip test of their mean, and hold for
   all losses of a table together; a loss may therefore be better in a small table and not in a large one.

The networks are small and the trainings short. The tables show how losses compare *here*, and nothing about the papers'
networks and data. Measurements and tuning are in [miniature/](miniature) as Parquet; `python -m benchmarks.miniature`
writes this page from them.
"""

SEARCHES = """## Searches

`lossearch search NAME` runs these. None needs a download. The head of each file says how long it takes on two cores.

| name | purpose |
|---|---|
| `digits` | the demo: handwritten digits |
| `noisy_labels` | wrong labels: 40 % of the training labels |
| `long_tail` | classes of unequal size, up to 50 to 1 |
| `few_labels` | five training samples of each class |
| `verification` | pairs of identities that were never trained on |
| `segmentation` | a class for each pixel |
| `ngl` | a loss over predictions and targets on three tasks at once, as NGL was found |
| `rediscovery` | cross-entropy, from random trees without its operator |

The five families start from every known loss that suits them, with the settings and at the learning rate that were
best for known losses on the validation split. For `noisy_labels` and `long_tail` these come from first rounds at a
learning rate of 0.1 (see [docs/evidence.md](../docs/evidence.md)), for the others from [the settings that were found
best](#the-settings-that-were-found-best). Only run time decided their size.
"""


def keep(run: Path) -> None:
    """Copy a run's measurements, its tuning and its declaration."""
    KEPT.mkdir(exist_ok=True)
    for folder in ("measurements", "tuning"):
        measurements, damages = RecordStore(run / folder, Measurement).read()
        assert not damages, damages
        order = sorted(
            measurements,
            key=lambda measurement: (
                measurement.task,
                measurement.loss,
                measurement.formula,
                measurement.seed,
                measurement.measure,
            ),
        )
        write_records(KEPT / f"{folder}.parquet", Measurement, order)
    shutil.copy(run / "comparison.toml", KEPT / "comparison.toml")


def page() -> str:
    """Write the page from the kept measurements."""
    measurements = read_records(KEPT / "measurements.parquet", Measurement)
    tuning = read_records(KEPT / "tuning.parquet", Measurement)
    settings = {
        (measurement.task, measurement.loss, measurement.formula, measurement.learning_rate) for measurement in tuning
    }
    pairs = {(measurement.task, measurement.loss) for measurement in tuning}
    head = HEAD.format(
        losses=len({measurement.loss for measurement in measurements}),
        tasks=len({measurement.task for measurement in measurements}),
        seeds=len({measurement.seed for measurement in measurements}),
        tune=max(sum(setting[:2] == pair for setting in settings) for pair in pairs),
    )
    parts = [head, *(part for twin in TWINS for part in _of_twin(twin, measurements)), "## All losses together", ""]
    every = ComparisonTable(measurements, BASELINE)
    parts.append(as_markdown(every.lines, 3))
    parts += ["## The settings that were found best", "", *_settings(every.lines), ""]
    parts += [SEARCHES, fidelity.section()]
    return "\n".join(parts)


def _of_twin(twin: Twin, measurements: Sequence[Measurement]) -> Iterator[str]:
    of_twin = [
        measurement
        for measurement in measurements
        if measurement.task in twin.tasks and measurement.loss in (BASELINE, *twin.losses)
    ]
    of_twin.sort(key=lambda measurement: twin.tasks.index(measurement.task))
    yield from (f"## {twin.title}", "", twin.of, "")
    yield as_markdown(ComparisonTable(of_twin, BASELINE).lines, 3)


def _settings(lines: Sequence[Line]) -> Iterator[str]:
    yield "| task | loss | learning rate | formula |"
    yield "|---|---|---|---|"
    for line in lines:
        yield f"| {code(line.task)} | {code(line.loss)} | {line.learning_rate:.3g} | {code(line.formula)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, help="directory of a run to take in")
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    run = parser.parse_args().run
    if run is not None:
        keep(run)
    PAGE.write_text(page(), encoding="utf-8")
    print(json.dumps({"miniature": {"page": PAGE.name, "characters": PAGE.stat().st_size}}))


if __name__ == "__main__":
    main()
