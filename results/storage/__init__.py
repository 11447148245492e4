"""Storage of records: Parquet files in memory and on disk, and the log of a run."""
