"""Write docs/reading.md: how to read a run without lossearch, with recipes and the columns of every file.

The columns are read from the source of the records, with the comments beside them.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from lossearch.results.records import SCHEMA_VERSION

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reading.md"

#: The files of a run, the record that is one row of each, where it is declared, and what it is.
FILES = (
    (
        "leaderboard.parquet",
        "Row",
        "results/ranking/row.py",
        "one row for each loss, derived from the evaluations",
    ),
    ("evaluations/*.parquet", "Evaluation", "results/records.py", "one row for each training, or refused candidate"),
    (
        "tuning/tuned.parquet",
        "TunedLoss",
        "results/findings/tuned_losses.py",
        "one row for each loss tuned on a task",
    ),
    (
        "verdict/verdicts.parquet",
        "Verdict",
        "results/findings/verdicts.py",
        "one row for each loss judged in a scene",
    ),
    ("verdict/*/measurements/*.parquet", "Measurement", "results/records.py", "one row for each measure of a training"),
)

HEAD = f"""# Reading a run without lossearch

Everything that a run found is in Parquet files. DuckDB, polars and pandas open them without lossearch.

- Numbers are double precision or 64-bit integers. Times are text in ISO 8601, UTC. What does not apply is null.
- Fitness and other shares are in [0, 1]. Seconds are wall time. Complexity is the number of nodes of the formula.
- The schema version of the evaluations is {SCHEMA_VERSION}. Each file has it in its metadata, under
  `lossearch.schema_version`. lossearch also reads older versions; columns that they lack are null.

## Recipes

The best losses, with DuckDB:

```python
import duckdb

duckdb.sql(\"\"\"
    select rank, formula, fitness_mean, difference_to_cross_entropy
    from 'runs/a/leaderboard.parquet' where rank <= 10 order by rank
\"\"\").show()
```

Fitness seed by seed, and how far it spreads:

```python
import duckdb

duckdb.sql(\"\"\"
    select formula, count(*) as seeds, avg(fitness) as fitness, stddev_samp(fitness) as spread
    from 'runs/a/evaluations/*.parquet'
    where status = 'evaluated' and (steps is null or steps = full_steps) -- no trainings that ended at a rung
    group by formula having count(*) > 1 order by fitness desc limit 10
\"\"\").show()
```

Why candidates were refused, with polars:

```python
import polars as pl

evaluations = pl.scan_parquet("runs/a/evaluations/*.parquet")
refused = evaluations.filter(pl.col("status") == "rejected")
print(refused.group_by("reason").len().sort("len", descending=True).head(10).collect())
```

The difference of every loss to cross-entropy under the same seeds, with polars:

```python
import polars as pl

is_full = pl.col("steps").is_null() | (pl.col("steps") == pl.col("full_steps"))  # not ended at a rung
done = pl.scan_parquet("runs/a/evaluations/*.parquet").filter((pl.col("status") == "evaluated") & is_full)
baseline = done.filter(pl.col("name") == "cross_entropy").select("task", "seed", base="fitness")
paired = done.join(baseline, on=["task", "seed"]).with_columns(gain=pl.col("fitness") - pl.col("base"))
print(paired.group_by("loss_id", "formula").agg(pl.col("gain").mean(), pl.len()).sort("gain").tail(10).collect())
```

Progress by generation, with pandas:

```python
import pandas as pd

board = pd.read_parquet("runs/a/leaderboard.parquet")
ranked = board[board["rank"].notna()]
print(ranked.groupby("generation")["fitness_mean"].agg(["max", "median", "count"]))
```

The ancestors of the best loss, with pandas:

```python
import pandas as pd

losses = pd.read_parquet("runs/a/leaderboard.parquet").set_index("loss_id")
pending, ancestors = [losses.index[0]], set()
while pending:
    loss_id = pending.pop()
    if loss_id in losses.index and loss_id not in ancestors:
        ancestors.add(loss_id)
        pending.extend(losses.loc[loss_id, "parents"])
print(losses.loc[list(ancestors), ["generation", "birth", "formula", "fitness_mean"]].sort_values("generation"))
```

## Columns
"""


def page() -> str:
    """Write the page."""
    return "\n".join([HEAD, *(line for file in FILES for line in _columns(*file))])


def _columns(file: str, record: str, source: str, what: str) -> Iterator[str]:
    yield f"### `{file}`: {what}"
    yield ""
    yield "| column | type | |"
    yield "|---|---|---|"
    for name, kind, comment in declared(ROOT / source, record):
        yield f"| `{name}` | {kind} | {comment} |"
    yield ""


def declared(source: Path, record: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and comment of every field of a record, in order."""
    text = source.read_text(encoding="utf-8")
    lines = text.splitlines()
    (declaration,) = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == record)
    for node in declaration.body:
        if isinstance(node, ast.AnnAssign):
            assert isinstance(node.target, ast.Name)
            assert node.end_lineno is not None
            comment = lines[node.end_lineno - 1].partition("#: ")[2]
            yield node.target.id, _kind(ast.unparse(node.annotation)), comment.replace("|", r"\|").replace("``", "`")


def _kind(annotation: str) -> str:
    """Return the name of a column's type."""
    plain = annotation.replace(" | None", "")
    named = {"str": "text", "int": "integer", "float": "double", "bool": "boolean"}
    named |= {"tuple[str, ...]": "list of text", "tuple[int, ...]": "list of integers"}
    return named.get(plain, "text") + (" or null" if annotation != plain else "")


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
