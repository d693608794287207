r"""InfluxDB line protocol from SCORES frames, by columns.

What a series contributes to its lines, the measurement and the tags, is escaped once and kept;
the fields are written by string expressions.

Two things change on the way, because the format has no way to write them:

- a label named as a field, ``tenant``, ``time``, or beginning with an underscore (InfluxDB's own
  names do) gets the prefix ``label_``;
- a backslash that ends a name or value, or stands before a space, comma, equals sign or quote,
  becomes a slash; a line break becomes the two characters ``\n``; NUL is left out; a number sign
  at the start of a measurement, which would make the line a comment, becomes ``_``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

import numpy as np
import orjson
import polars as pl

from operators.columns.hash_index import HashIndex
from operators.contracts.frames import DEFAULT_TENANT, QUANTILES

__all__ = [
    "FIELDS",
    "UNITS",
    "LineProtocol",
    "UnitLines",
    "escape_measurement",
    "escape_tag",
    "series_prefix",
]

_FLOATS: Final = (
    "sum", "min", "max", "mean", "last", "increase", "rate", *QUANTILES,
    "score", "expected", "lower", "upper",
)  # fmt: skip
FIELDS: Final = ("count", *_FLOATS, "revision")
"""What a point may hold: ``count`` and ``revision`` are integers, the others floats."""

UNITS: Final = "headrace_units"
"""The measurement that says in which unit each metric is."""
_DAY: Final = 86_400_000_000_000
_METRICS_KEPT: Final = 100_000

_RESERVED: Final = frozenset({*FIELDS, "tenant", "time"})
_PREFIX: Final = "label_"
_SERIES_KEPT: Final = 500_000
_MOST_CHUNKS: Final = 32

_UNWRITABLE_BACKSLASH: Final = re.compile(r'\\(?=[ ,="]|\Z)')
_CONTROLS: Final = str.maketrans({"\n": "\\n", "\r": "\\r", "\x00": None})


class LineProtocol:
    """Writes lines, and remembers how the series of those before begin.

    Args:
        series_kept: beyond so many it forgets all, and learns again those still active.
    """

    def __init__(self, series_kept: int = _SERIES_KEPT) -> None:
        self._series_kept = series_kept
        self._forget()

    def _forget(self) -> None:
        self._index = HashIndex()
        self._prefixes = pl.Series("prefix", [], pl.String)

    def lines(self, frame: pl.DataFrame) -> pl.Series:
        """Return a line, without its newline, for each row of a SCORES frame.

        Times are in nanoseconds. A field that is null, NaN or infinite is left out. Floats read
        back as the very same number.
        """
        line = pl.concat_str(
            pl.lit(self._prefix(frame)),
            pl.lit(" count="),
            pl.col("count").cast(pl.String),
            pl.lit("i"),
            *(_float_field(name) for name in _FLOATS),
            pl.lit(",revision="),
            pl.col("revision").cast(pl.String),
            pl.lit("i "),
            pl.col("window_start").cast(pl.String),
            ignore_nulls=True,
        )
        return frame.select(line.alias("line")).to_series()

    def _prefix(self, frame: pl.DataFrame) -> pl.Series:
        """Return the measurement and tags of each row."""
        keys = frame["series"].to_numpy()
        rows, new = self._index.find_new(keys)
        if len(new):
            if len(self._index) + len(new) > self._series_kept:
                self._forget()
                _, new = self._index.find_new(keys)
            self._learn(frame[new])
            rows = self._index.find(keys)
        return self._prefixes.gather(rows)

    def _learn(self, new: pl.DataFrame) -> None:
        columns = (new["tenant"], new["name"], new["labels"])
        prefixes = [
            series_prefix(tenant, name, orjson.loads(labels))
            for tenant, name, labels in zip(*columns, strict=True)
        ]
        start = len(self._index)
        rows = np.arange(start, start + new.height, dtype=np.int32)
        self._index.insert(new["series"].to_numpy(), rows)
        self._prefixes.append(pl.Series(prefixes, dtype=pl.String))
        if self._prefixes.n_chunks() > _MOST_CHUNKS:
            self._prefixes = self._prefixes.rechunk()


class UnitLines:
    """Writes lines that say in which unit a metric is: once a day and window for each.

    One a day, and not one for ever: a bucket forgets what is older than its retention.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[int, str, str], int] = {}
        self._telling: dict[tuple[int, str, str], int] = {}

    def due(self, frame: pl.DataFrame) -> Iterator[tuple[int, pl.Series]]:
        """Yield a window's length and the lines due for it, of a SCORES frame.

        They are due again, unless ``written`` is called before the next is taken.
        """
        newest = (
            frame.filter(pl.col("unit") != "")
            .group_by("window", "name", "unit")
            .agg(pl.col("window_start").max())
        )
        for (window,), part in newest.partition_by("window", as_dict=True).items():
            lines = []
            self._telling = {}
            for name, unit, at in part.select("name", "unit", "window_start").iter_rows():
                key, day = (window, name, unit), at // _DAY
                if self._told.get(key, -1) < day:
                    self._telling[key] = day
                    lines.append(
                        f"{UNITS},metric={escape_tag(name)},unit={escape_tag(unit)} seen=1i {at}"
                    )
            if lines:
                yield window, pl.Series(lines, dtype=pl.String)

    def written(self) -> None:
        """Note that the lines last taken are stored."""
        if len(self._told) > _METRICS_KEPT:
            self._told.clear()
        self._told |= self._telling


def _float_field(name: str) -> pl.Expr:
    value = pl.when(pl.col(name).is_finite()).then(pl.col(name)).cast(pl.String)
    return pl.concat_str(pl.lit(f",{name}="), value)


def series_prefix(tenant: str, name: str, labels: Mapping[str, str]) -> str:
    r"""Return how every line of the series begins: measurement and sorted tags.

    A tenant is a tag unless it is the default one.

    >>> series_prefix("acme", "cpu load", {"host": "web-1", "min": "a=b"})
    'cpu\\ load,host=web-1,label_min=a\\=b,tenant=acme'
    """
    tags = {} if tenant == DEFAULT_TENANT else {"tenant": tenant}
    for label, value in labels.items():
        key = label
        while key in _RESERVED or key.startswith("_") or (key != label and key in labels):
            key = _PREFIX + key
        tags[key] = value
    written = ((escape_tag(key), escape_tag(value)) for key, value in sorted(tags.items()))
    return escape_measurement(name) + "".join(
        f",{key}={value}" for key, value in written if key and value
    )


def escape_measurement(name: str) -> str:
    r"""Return ``name`` as the measurement of a line.

    >>> escape_measurement("a,b c=d")
    'a\\,b\\ c=d'
    """
    if name.startswith("#"):
        name = "_" + name[1:]
    return _writable(name).replace(",", "\\,").replace(" ", "\\ ")


@lru_cache(maxsize=1 << 16)
def escape_tag(text: str) -> str:
    r"""Return ``text`` as a tag's key or value.

    >>> escape_tag("C:\\Program Files\\")
    'C:\\Program\\ Files/'
    """
    return _writable(text).replace(",", "\\,").replace(" ", "\\ ").replace("=", "\\=")


def _writable(text: str) -> str:
    return _UNWRITABLE_BACKSLASH.sub("/", text.translate(_CONTROLS))
