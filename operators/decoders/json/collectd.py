"""Values of collectd 5 as JSON: what its plugin ``write_kafka`` writes with ``Format JSON``.

A message is an array of value lists; each of the values is a point:

    [{"values":[0.1],"dstypes":["derive"],"dsnames":["value"],"time":1515406948.326,
      "interval":10.000,"host":"h","plugin":"cpu","plugin_instance":"0","type":"cpu",
      "type_instance":"user"}]

The metric is ``<plugin>_<type>``, with the name of the data source behind it unless that is
``value``; the labels are host, plugin_instance and type_instance. A value that is ``null`` (the
first rate of a counter, say) is skipped.

With the plugin's option ``StoreRates``, which is on by default, collectd has made a rate of each
value of a counter, and does not say so: ``dstypes`` stays what it was, and a rate of 12 reads as a
total of 12 does. So the encoding has to be told. ``collectd_json`` is for the default, and all
values are gauges. ``collectd_json_totals`` is for ``StoreRates false``: ``derive`` and ``counter``
are cumulative, with an unknown start, ``absolute`` is a delta, since reading resets it.
"""

# ruff: noqa: PLR0911, PLR0912, PLR1714, SIM109 -- each fault of a message ends its scan

from __future__ import annotations

from typing import Any, Final

import numpy as np

from operators.columns.scanning import INEXACT, MALFORMED, Word, fold, hash_range, inlined
from operators.contracts.frames import CUMULATIVE, DELTA, GAUGE
from operators.decoders.json.messages import Format, JsonDecoder, Stream
from operators.decoders.json.page import (
    FULL,
    NO_VALUE,
    ROWS,
    Page,
    add_row,
    kernel_of,
    note,
    or_doubtful,
)
from operators.decoders.json.scan import (
    ABSENT,
    ACCEPTED,
    DOUBTFUL,
    first_element,
    key_table,
    members,
    next_element,
    scan_number,
    skip_space,
    skip_value,
    which_of,
)
from operators.decoders.json.times import scan_seconds

__all__ = ["CollectdJson", "CollectdJsonTotals"]

_KEYS = key_table(
    "host", "plugin", "plugin_instance", "type", "type_instance", "dsnames", "dstypes", "values",
    "time",
)  # fmt: skip
_HOST, _PLUGIN, _PLUGIN_INSTANCE, _TYPE, _TYPE_INSTANCE, _DSNAMES, _DSTYPES, _VALUES, _TIME = range(
    9
)
_ODD: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_KINDS: Final = {"gauge": GAUGE, "derive": CUMULATIVE, "counter": CUMULATIVE, "absolute": DELTA}
_NO_ARRAY, _NO_OBJECT, _NO_NAMES, _NO_SOURCES, _NO_TYPES, _NO_TIME, _NO_NUMBER = range(2, 9)
_TYPES = key_table(*_KINDS)
_REASONS: Final = (
    "not values of collectd: no JSON array",
    "not values of collectd: no object in the array",
    "not values of collectd: host, plugin, type or an instance is no text",
    'not values of collectd: "values", "dsnames" and "dstypes" are no arrays of one length',
    'not values of collectd: an unknown type of data source in "dstypes"',
    'not values of collectd: "time" is no number of seconds',
    'not values of collectd: neither a number nor null in "values"',
)


@inlined
def _value_list(page: Page, message: int, start: int, after: int) -> int:
    """Read the value list between ``start`` and ``after``, where ``members`` has found its parts.

    Returns:
        The status of the message.
    """
    buffer, found = page.buffer, page.found
    owner: Word = page.seed
    for part in range(_HOST, _TYPE_INSTANCE + 1):
        at = found[part, 0]
        # The instances may be left out; that is another identity than empty ones, of one series.
        optional = part == _PLUGIN_INSTANCE or part == _TYPE_INSTANCE
        if (at != ABSENT or not optional) and (at == ABSENT or buffer[at] != 34):
            return _NO_NAMES
        owner = hash_range(buffer, at, found[part, 1], owner)
    for part in range(_DSNAMES, _VALUES + 1):
        if found[part, 0] == ABSENT or buffer[found[part, 0]] != 91:
            return _NO_SOURCES
    owner = hash_range(buffer, found[_DSNAMES, 0], found[_DSNAMES, 1], owner)
    owner = hash_range(buffer, found[_DSTYPES, 0], found[_DSTYPES, 1], owner)
    if found[_TIME, 0] == ABSENT:
        return _NO_TIME
    ts, status = scan_seconds(buffer, found[_TIME, 0], found[_TIME, 1])
    if status == MALFORMED:
        return _NO_TIME

    # Names, types and values are three arrays, walked side by side.
    names_end, types_end, end = found[_DSNAMES, 1], found[_DSTYPES, 1], found[_VALUES, 1]
    name = first_element(buffer, found[_DSNAMES, 0], names_end)
    type_ = first_element(buffer, found[_DSTYPES, 0], types_end)
    at = first_element(buffer, found[_VALUES, 0], end)
    source = 0
    while at >= 0 and name >= 0 and type_ >= 0:
        if page.used[ROWS] == len(page.rows):
            return FULL
        if buffer[name] != 34:
            return _NO_SOURCES
        type_after = skip_value(buffer, type_, types_end, page.levels)
        if buffer[type_] != 34 or which_of(buffer, type_ + 1, type_after - 1, _TYPES) < 0:
            return _NO_TYPES
        value_after = skip_value(buffer, at, end, page.levels)
        number, fate = 0.0, NO_VALUE
        if buffer[at] != 110:
            number, fate = scan_number(buffer, at, value_after)
            if fate == MALFORMED:
                return _NO_NUMBER
            if fate == INEXACT:
                return DOUBTFUL
        raw = fold(owner ^ np.uint64(source), _ODD)
        note(add_row(page, number, fate), message, ts, start, after, source, raw)
        source += 1
        name = next_element(buffer, skip_value(buffer, name, names_end, page.levels), names_end)
        type_ = next_element(buffer, type_after, types_end)
        at = next_element(buffer, value_after, end)
    return _NO_SOURCES if at >= 0 or name >= 0 or type_ >= 0 else ACCEPTED


@inlined
def _read(page: Page, message: int, start: int, end: int) -> int:
    """Read an array of value lists; return the status of the message."""
    buffer = page.buffer
    if start >= end or buffer[start] != 91:
        return _NO_ARRAY
    at = skip_space(buffer, start + 1, end)
    empty = at < end and buffer[at] == 93
    while not empty:
        after = members(buffer, at, end, _KEYS, page.found, page.levels, page.parsed)
        if after < 0:
            return or_doubtful(page, _NO_OBJECT)
        status = _value_list(page, message, at, after)
        if status != ACCEPTED:
            return status
        at = skip_space(buffer, after, end)
        if at >= end or buffer[at] != 44:
            break
        at = skip_space(buffer, at + 1, end)
    if at >= end or buffer[at] != 93:
        return DOUBTFUL
    return ACCEPTED if skip_space(buffer, at + 1, end) == end else DOUBTFUL


def _stream_of_total(values: Any, _: str, source: int) -> Stream:
    name = f"{values['plugin']}_{values['type']}"
    if (of_source := values["dsnames"][source]) != "value":
        name = f"{name}_{of_source}"
    labels = {key: values.get(key, "") for key in ("host", "plugin_instance", "type_instance")}
    return Stream(name, _KINDS[values["dstypes"][source]], labels)


def _stream_of_rate(values: Any, _: str, source: int) -> Stream:
    return _stream_of_total(values, _, source)._replace(kind=GAUGE)


_KERNEL: Final = kernel_of(_read)


class CollectdJson(JsonDecoder):
    """Decodes arrays of value lists of which collectd has made rates (``StoreRates true``)."""

    form = Format(_KERNEL, _REASONS, _stream_of_rate)


class CollectdJsonTotals(JsonDecoder):
    """Decodes arrays of value lists with the totals of what counts (``StoreRates false``)."""

    form = Format(_KERNEL, _REASONS, _stream_of_total)
