"""Changes to labels: lookup tables, static labels, dropped and renamed ones.

They are made once for each new identity, when its series is named, and never again a point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import polars as pl

__all__ = ["Enricher", "EnrichmentError", "EnrichmentSettings", "LookupSettings"]


class EnrichmentError(ValueError):
    """A lookup table can't be used; the message names the file, the column and the way out."""


class LookupSettings(Protocol):
    """What a lookup needs to know; ``flows.settings.Lookup`` is one."""

    @property
    def path(self) -> Path:
        """The table: CSV, or Parquet."""
        ...

    @property
    def on(self) -> str:
        """The label that is looked up, and the column it is looked up in."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """Columns that become labels; all others if empty."""
        ...


class EnrichmentSettings(Protocol):
    """What enrichment needs to know; ``flows.settings.Enrichment`` is one."""

    @property
    def lookups(self) -> Sequence[LookupSettings]:
        """Tables."""
        ...

    @property
    def static(self) -> Mapping[str, str]:
        """Labels that every series gets."""
        ...

    @property
    def drop(self) -> Sequence[str]:
        """Labels that no series keeps."""
        ...

    @property
    def rename(self) -> Mapping[str, str]:
        """New name by old."""
        ...


class Enricher:
    """Applies, in this order: lookups, static labels, drops, renames.

    A lookup adds labels that are missing and leaves those that are there. A static label wins
    over any other of its name, and so does a renamed one over what had the new name before.

    Raises:
        EnrichmentError: a table can't be read, lacks a column, or has a key twice.
    """

    def __init__(self, settings: EnrichmentSettings) -> None:
        self._lookups = [(lookup.on, _read_table(lookup)) for lookup in settings.lookups]
        self._static = pl.DataFrame(
            {"key": list(settings.static), "value": list(settings.static.values())},
            schema={"key": pl.String, "value": pl.String},
        )
        self._drop = list(settings.drop)
        self._rename = dict(settings.rename)

    @property
    def changes(self) -> bool:
        """Whether ``apply`` changes anything."""
        return bool(self._lookups or self._static.height or self._drop or self._rename)

    def apply(self, labels: pl.DataFrame, owners: int) -> pl.DataFrame:
        """Return the enriched labels.

        Args:
            labels: an ATTRIBUTES frame without an owner's key twice.
            owners: their number; also one without labels gets static ones.
        """
        for on, table in self._lookups:
            found = (
                labels.filter(pl.col("key") == on)
                .join(table, left_on="value", right_on="match", suffix="_found")
                .select(
                    "owner", pl.col("key_found").alias("key"), pl.col("value_found").alias("value")
                )
            )
            labels = _unique(pl.concat([labels, found]), keep="first")
        if self._static.height:
            everyone = pl.DataFrame({"owner": pl.int_range(owners, dtype=pl.UInt32, eager=True)})
            labels = pl.concat([labels, everyone.join(self._static, how="cross")])
            labels = _unique(labels, keep="last")
        if self._drop:
            labels = labels.filter(~pl.col("key").is_in(self._drop))
        if self._rename:
            renamed = pl.col("key").is_in(list(self._rename))
            changed = labels.filter(renamed).with_columns(pl.col("key").replace(self._rename))
            labels = _unique(pl.concat([labels.filter(~renamed), changed]), keep="last")
        return labels


def _unique(labels: pl.DataFrame, keep: str) -> pl.DataFrame:
    return labels.unique(["owner", "key"], keep=keep, maintain_order=True)  # type: ignore[arg-type]


def _read_table(lookup: LookupSettings) -> pl.DataFrame:
    """Return the table in long form: match, key_found, value_found."""
    path = lookup.path
    try:
        if path.suffix == ".parquet":
            table = pl.read_parquet(path)
        else:
            table = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise EnrichmentError(f"enrichment.lookups: cannot read {path}: {error}") from None
    columns = list(lookup.labels) or [name for name in table.columns if name != lookup.on]
    for column in (lookup.on, *columns):
        if column not in table.columns:
            raise EnrichmentError(
                f"enrichment.lookups: {path} has no column {column} "
                f"(it has: {', '.join(table.columns)})"
            )
    table = table.select(pl.col(lookup.on, *columns).cast(pl.String)).drop_nulls(lookup.on)
    if table[lookup.on].is_duplicated().any():
        twice = table.filter(pl.col(lookup.on).is_duplicated())[lookup.on][0]
        raise EnrichmentError(f"enrichment.lookups: {path} has {lookup.on} = {twice} twice")
    return (
        table.unpivot(columns, index=lookup.on, variable_name="key_found", value_name="value_found")
        .rename({lookup.on: "match"})
        .drop_nulls("value_found")
        .select("match", "key_found", "value_found")
    )
