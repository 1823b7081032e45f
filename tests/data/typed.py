"""A program that uses FlowLake's types: mypy accepts it only where the package has them."""

import polars as pl

import flowlake as fl

lake: fl.Lake = fl.open_lake("lake")
flows: pl.LazyFrame = lake.flows(since="24h")
report: fl.Report = fl.convert("bucket", lake="lake")
rows: str = report.rows  # type: ignore[assignment]
fl.convert("bucket", lakes="lake")  # type: ignore[call-arg]
