"""The directory of a comparison: what was declared, every measurement, the table that follows from them, the log."""

from typing import Any

from lossearch.comparison import Comparison, validated_comparison
from lossearch.run_directory import Directory
from results.atomic import write_whole_text
from results.comparison_table import ComparisonTable
from results.records import Measurement
from results.store import RecordStore


class ComparisonDirectory(Directory[Comparison, Measurement]):
    """The directory of a comparison."""

    FILE, PARTS, FOLDERS, RECORD = "comparison.toml", "measurements", ("measurements", "tuning"), Measurement

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
