"""A compiled scan of the lines of web servers, in the common and the combined format.

Most lines are plain: nothing in them has to be escaped in JSON, and what stands before the path is
ASCII. Their fields are read in one pass, and written as the JSON object that they become. A line of
which anything is otherwise is left to the regular expression of ``operators.logs.parsing.lines``.
"""

# ruff: noqa: PLR0911, PLR0912, PLR0915, PLR1714 -- a scanner is one long list of cases

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled, uncounted
from operators.columns.text_column import TextColumn, filled_texts

__all__ = ["AccessLines", "scan_access_lines"]

_KEYS: Final = (
    b'"client.address":"', b'"user.name":"', b'"http.request.method":"', b'"url.original":"',
    b'"network.protocol.version":"', b'"http.response.status_code":', b'"http.response.body.size":',
    b'"http.request.header.referer":"', b'"user_agent.original":"',
)  # fmt: skip
_CLIENT, _USER, _METHOD, _PATH, _VERSION, _STATUS, _SIZE, _REFERRER, _AGENT = range(9)
_WRITTEN: Final = np.frombuffer(b"".join(_KEYS), np.uint8)
_BOUNDS: Final = np.cumsum([0, *map(len, _KEYS)])
_ROOM: Final = int(_BOUNDS[-1]) + 2 * len(_KEYS) + 8
"""Bytes that the object of a line has beside the texts in it."""
_ASCII: Final = 127
_ANY: Final = 255
_HTTP: Final = np.frombuffer(b" HTTP/", np.uint8)


class AccessLines(NamedTuple):
    """What plain lines say; an element a line.

    Attributes:
        status: of the answer; -1 where the line is not plain.
        times: where the time of each stands, as a column of the same buffer.
        attributes: JSON objects; empty where the line is not plain.
    """

    status: NDArray[np.int32]
    times: TextColumn
    attributes: TextColumn


def scan_access_lines(column: TextColumn) -> AccessLines:
    """Read the lines that are plain."""
    size = len(column.starts)
    status = np.full(size, -1, np.int32)
    times = np.zeros((2, size), np.int64)
    offsets = np.zeros(size + 1, np.int64)
    out = np.empty(int((column.ends - column.starts).sum()) + _ROOM * size + 16, np.uint8)
    _scan(column.buffer, column.starts, column.ends, status, times, out, offsets)
    times_of = TextColumn(column.buffer, times[0], times[1])
    return AccessLines(status, times_of, filled_texts(out, offsets))


@uncounted
def _find(buffer: NDArray[np.uint8], at: int, end: int, byte: int, most: int) -> int:
    """Return where a byte stands next; -1 if it does not, or what is not plain stands before it.

    A byte above ``most`` is not plain there.
    """
    while at < end:
        found = buffer[at]
        if found == byte:
            return at
        if found < 32 or found == 92 or found == 127 or found > most:
            return -1
        at += 1
    return -1


@uncounted
def _is_nothing(buffer: NDArray[np.uint8], start: int, end: int) -> bool:
    return bool(end <= start or (end - start == 1 and buffer[start] == 45))


@uncounted
def _put(
    out: NDArray[np.uint8], at: int, key: int, buffer: NDArray[np.uint8], start: int, end: int
) -> int:
    """Write a member, a comma before it if it is not the first; return where it ends."""
    if out[at - 1] != 123:
        out[at] = 44
        at += 1
    for place in range(_BOUNDS[key], _BOUNDS[key + 1]):
        out[at] = _WRITTEN[place]
        at += 1
    for place in range(start, end):
        out[at] = buffer[place]
        at += 1
    if key != _STATUS and key != _SIZE:
        out[at] = 34
        at += 1
    return at


@uncounted
def _http_at(buffer: NDArray[np.uint8], start: int, end: int) -> int:
    """Return where `` HTTP/`` and a version end a request; ``end`` if they do not."""
    at = end
    while at > start and (48 <= buffer[at - 1] <= 57 or buffer[at - 1] == 46):
        at -= 1
    if at == end or at - 6 < start:
        return end
    for place in range(6):
        if buffer[at - 6 + place] != _HTTP[place]:
            return end
    return at - 6


@uncounted
def _is_time(buffer: NDArray[np.uint8], at: int, end: int) -> bool:
    """Say whether a time begins as ``31/Jan/2026:`` does."""
    if end - at < 12 or buffer[at + 2] != 47 or buffer[at + 6] != 47 or buffer[at + 11] != 58:
        return False
    for place in range(at, at + 11):
        if 3 <= place - at < 6:
            if not 97 <= buffer[place] | 32 <= 122:
                return False
        elif place != at + 2 and place != at + 6 and not 48 <= buffer[place] <= 57:
            return False
    return True


@uncounted
def _line(
    buffer: NDArray[np.uint8], at: int, end: int, row: int, times: NDArray[np.int64],
    out: NDArray[np.uint8], filled: int,
) -> tuple[int, int]:  # fmt: skip
    """Read a line; return its status and where its object ends, or -1 if it is not plain."""
    client = at
    client_end = _find(buffer, at, end, 32, _ASCII)
    if client_end <= client:
        return -1, filled
    at = _find(buffer, client_end + 1, end, 32, _ASCII)
    if at <= client_end + 1:
        return -1, filled
    user = at + 1
    at = _find(buffer, user, end, 91, _ASCII)
    if at <= user or buffer[at - 1] != 32:
        return -1, filled
    user_end = at - 1
    time = at + 1
    at = _find(buffer, time, end, 93, _ASCII)
    if at <= time or at + 2 >= end or buffer[at + 1] != 32 or buffer[at + 2] != 34:
        return -1, filled
    time_end = at
    if not _is_time(buffer, time, time_end):
        return -1, filled
    request = at + 3
    quote = _find(buffer, request, end, 34, _ANY)
    if quote < 0 or quote + 6 > end or buffer[quote + 1] != 32 or buffer[quote + 5] != 32:
        return -1, filled
    status = 0
    for place in range(quote + 2, quote + 5):
        if not 48 <= buffer[place] <= 57:
            return -1, filled
        status = 10 * status + buffer[place] - 48
    if status < 100:
        return -1, filled
    size = at = quote + 6
    while at < end and 48 <= buffer[at] <= 57:
        at += 1
    size_end = at
    if at == size:
        if at >= end or buffer[at] != 45:
            return -1, filled
        at += 1
    while size_end - size > 1 and buffer[size] == 48:
        size += 1
    referrer = referrer_end = agent = agent_end = 0
    if at < end:
        if at + 1 >= end or buffer[at] != 32 or buffer[at + 1] != 34:
            return -1, filled
        referrer = at + 2
        referrer_end = _find(buffer, referrer, end, 34, _ANY)
        at = referrer_end + 1
        if referrer_end < 0 or at + 1 >= end or buffer[at] != 32 or buffer[at + 1] != 34:
            return -1, filled
        agent = at + 2
        agent_end = _find(buffer, agent, end, 34, _ANY)
        if agent_end < 0:
            return -1, filled
    path = method = request
    while path < quote and 65 <= buffer[path] <= 90:
        path += 1
    method_end = path
    if path > method and path < quote and buffer[path] == 32:
        path += 1
    else:
        path = method_end = method
    path_end = _http_at(buffer, path, quote)
    out[filled] = 123
    filled += 1
    if not _is_nothing(buffer, client, client_end):
        filled = _put(out, filled, _CLIENT, buffer, client, client_end)
    if not _is_nothing(buffer, user, user_end):
        filled = _put(out, filled, _USER, buffer, user, user_end)
    if method_end > method:
        filled = _put(out, filled, _METHOD, buffer, method, method_end)
    if not _is_nothing(buffer, path, path_end):
        filled = _put(out, filled, _PATH, buffer, path, path_end)
    if path_end < quote:
        filled = _put(out, filled, _VERSION, buffer, path_end + 6, quote)
    filled = _put(out, filled, _STATUS, buffer, quote + 2, quote + 5)
    if size_end > size:
        filled = _put(out, filled, _SIZE, buffer, size, size_end)
    if not _is_nothing(buffer, referrer, referrer_end):
        filled = _put(out, filled, _REFERRER, buffer, referrer, referrer_end)
    if not _is_nothing(buffer, agent, agent_end):
        filled = _put(out, filled, _AGENT, buffer, agent, agent_end)
    out[filled] = 125
    times[0, row] = time
    times[1, row] = time_end
    return status, filled + 1


@compiled
def _scan(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    status: NDArray[np.int32],
    times: NDArray[np.int64],
    out: NDArray[np.uint8],
    offsets: NDArray[np.int64],
) -> None:
    filled = 0
    for row in range(len(starts)):
        found, after = _line(buffer, starts[row], ends[row], row, times, out, filled)
        if found >= 0:
            status[row] = found
            filled = after
        offsets[row + 1] = filled
