"""Counts of a search's candidates by what became of them: one definition and one wording for every output.

A candidate is a birth that the search decided about. It was trained, rejected, or a duplicate.
"""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class CandidateCounts:
    """Numbers of candidates. Those that were trained are evaluated, stopped or failed, each of them one loss."""

    evaluated: int = 0  #: trained to the end on every task, under every seed that was asked for
    stopped: int = 0  #: trained to a rung and so far no longer
    failed: int = 0  #: a training of theirs failed, or one of a later retest
    rejected: int = 0  #: by screening, so not trained
    duplicates: int = 0  #: train like an earlier candidate, so not trained

    @property
    def trained(self) -> int:
        """Number of candidates that were trained, however far."""
        return self.evaluated + self.stopped + self.failed

    def named(self) -> dict[str, int]:
        """Return the counts by name, with those that were trained first; ``stopped`` only if there are some."""
        counts = {"trained": self.trained, **asdict(self)}
        return {name: count for name, count in counts.items() if count or name != "stopped"}

    def sentence(self, speed: str = "") -> str:
        """Return the counts in words. ``speed`` follows the number of trained candidates."""
        stopped = f", {self.stopped:,} stopped at a rung" if self.stopped else ""
        return (
            f"{self.trained:,} trained{speed}, of which {self.evaluated:,} evaluated{stopped} and "
            f"{self.failed:,} failed, {self.rejected:,} rejected, {self.duplicates:,} duplicates"
        )
