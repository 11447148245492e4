"""The directory of a comparison: what was declared, every measurement, the table that follows from them, the log."""

import os
from pathlib import Path
from typing import Any

from lossearch.comparison import Comparison, validated_comparison
from lossearch.results.findings.comparison import ComparisonTable
from lossearch.results.records import Measurement
from lossearch.results.storage.atomic import write_whole_text
from lossearch.results.storage.store import RecordStore
from lossearch.run_directory import Directory, locked


class ComparisonDirectory(Directory[Comparison, Measurement]):
    """The directory of a comparison."""

    FILE, PARTS, FOLDERS, RECORD = "comparison.toml", "measurements", ("measurements", "tuning"), Measurement

    @classmethod
    def set_aside(cls, path: Path, declared: Comparison) -> Path | None:
        """Rename a directory that holds another comparison than this one; None where none does.

        One under fewer or more seeds is the same. Raises RunDirectoryError while another process writes there.
        """
        if not (path / cls.FILE).exists() or _but_for_seeds(cls.recorded(path)) == _but_for_seeds(declared):
            return None
        lock = locked(path)
        try:
            number = 1
            while (kept := path.with_name(f"{path.name}-{number}")).exists():
                number += 1
            path.rename(kept)
        finally:
            os.close(lock)
        return kept

    @classmethod
    def _may_change(cls, key: str, declared: Comparison) -> bool:
        """The number of seeds: what was trained under each stays as it is."""
        return key == "seeds" or key.endswith(".seeds")

    @property
    def trials(self) -> RecordStore[Measurement]:
        """What was measured on the validation split while settings were tuned."""
        return RecordStore(self.path / "tuning", Measurement)

    @classmethod
    def validated(cls, declared: dict[str, Any], source: str) -> Comparison:
        """The comparison of a dictionary. Raises ExperimentError."""
        return validated_comparison(declared, source)

    def save_table(self, table: ComparisonTable) -> None:
        """Replace ``comparison.parquet`` and ``comparison.md``."""
        table.write(self.path / "comparison.parquet")
        write_whole_text(self.path / "comparison.md", table.as_markdown())


def _but_for_seeds(declared: Comparison) -> dict[str, Any]:
    """What decides the results, but for how many seeds there are."""
    found = declared.result_defining()
    trainings = {task: {**own, "seeds": 0} for task, own in found["fidelity_of"].items()}
    return found | {"seeds": 0, "fidelity_of": trainings}
