"""From fine to coarse: the windows above the finest, each made of the rows of the ones below.

A window of a level is made of what was *folded* into it, rows of finer windows that can't change
any more, and of the finer windows that still can. Nothing ever looks at points again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.contracts.snapshots import pack, unpack
from operators.windows.names import Renumbered
from operators.windows.rollups import NO_ROWS, Rows, merge_rows, take_rows
from operators.windows.sketches import NO_SKETCHES, Sketches, merge_sketches, take_sketches

__all__ = [
    "EMPTY", "Content", "Emitted", "Levels", "Out", "Times", "emitted_state", "merge_content", "restored_emitted",
]  # fmt: skip


class Content(NamedTuple):
    """Rows, and the sketches of those that have one."""

    rows: Rows
    sketches: Sketches

    def of(self, owners: NDArray[np.bool_]) -> Content:
        """Return what belongs to some owners, given as a mask by owner."""
        return Content(
            take_rows(self.rows, owners[self.rows.owner]),
            take_sketches(self.sketches, owners[self.sketches.owner]),
        )


class Out(NamedTuple):
    """What comes out: length and start of a window, its content, and the revision of each row.

    ``whole`` says that it comes out for the first time after event time passed its end.
    """

    window: int
    start: int
    content: Content
    revisions: NDArray[np.int64]
    whole: bool


EMPTY = Content(NO_ROWS, NO_SKETCHES)


def merge_content(parts: list[Content], owners: int) -> Content:
    """Merge what follows each other in time."""
    if len(parts) == 1:
        return parts[0]
    return Content(
        merge_rows([part.rows for part in parts], owners),
        merge_sketches([part.sketches for part in parts], in_time=True),
    )


def renumber_content(content: Content, owners: NDArray[np.int32]) -> Content:
    """Return the content under new numbers; what was forgotten is left out."""
    kept = content.of(owners >= 0)
    return Content(
        kept.rows._replace(owner=owners[kept.rows.owner]),
        kept.sketches._replace(owner=owners[kept.sketches.owner]),
    )


class Times(NamedTuple):
    """Ends of windows, in nanoseconds since the epoch.

    Attributes:
        limit: those that end by then come out.
        closed: those that end by then were due before.
        passed: those that end by then are whole.
    """

    limit: int
    closed: int
    passed: int


class Emitted:
    """Which owners of a window came out, and in which revision.

    ``early`` says that they were shown before event time passed the end of the window: all come out
    again when it does.
    """

    __slots__ = ("early", "owners", "revisions")

    def __init__(self, owners: NDArray[np.int32], revisions: NDArray[np.int64] | None = None):
        self.owners = owners
        self.revisions = np.zeros(len(owners), np.int64) if revisions is None else revisions
        self.early = False

    def next(self, owners: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the revision of each of ``owners``, which come out now."""
        at = np.searchsorted(self.owners, owners)
        known = np.zeros(len(owners), np.bool_)
        inside = at < len(self.owners)
        known[inside] = self.owners[at[inside]] == owners[inside]
        self.revisions[at[known]] += 1
        found = np.zeros(len(owners), np.int64)
        found[known] = self.revisions[at[known]]
        if not known.all():
            every = np.concatenate([self.owners, owners[~known]])
            revisions = np.concatenate([self.revisions, found[~known]])
            order = np.argsort(every, kind="stable")
            self.owners, self.revisions = every[order], revisions[order]
        return found

    def renumber(self, owners: NDArray[np.int32]) -> None:
        """Take up new numbers."""
        kept = owners[self.owners] >= 0
        self.owners, self.revisions = owners[self.owners[kept]], self.revisions[kept]


class Level:
    """One of the coarser resolutions: by start of the window, what is folded and what came out.

    ``altered`` are owners beneath whom something changed since, of windows that were shown early.
    """

    __slots__ = ("altered", "emitted", "folded", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.folded: dict[int, Content] = {}
        self.emitted: dict[int, Emitted] = {}
        self.altered: dict[int, list[NDArray[np.int32]]] = {}

    def start_of(self, ts: int) -> int:
        """Return the start of the window that ``ts`` is in."""
        return ts - ts % self.window

    def children(self, starts: Iterable[int]) -> dict[int, list[int]]:
        """Return the starts of finer windows by the start of the window that they are part of."""
        found: dict[int, list[int]] = {}
        for start in starts:
            found.setdefault(self.start_of(start), []).append(start)
        return found

    def note(self, changed: Mapping[int, NDArray[np.int32]]) -> None:
        """Note, by start of a finer window, which owners changed in it since it came out."""
        for start, owners in changed.items():
            if self.start_of(start) in self.emitted:
                self.altered.setdefault(self.start_of(start), []).append(owners)

    def due(self, filled: Iterable[int], limit: int) -> list[int]:
        """Return the starts of windows with content that end by ``limit``, in order."""
        return sorted(start for start in {*filled, *self.folded} if start + self.window <= limit)

    def shown(self, start: int, contents: _Contents, times: Times, owners: int) -> Out | None:
        """Return what comes out of a window that is due, None if all of it came out before.

        For example: a window is shown early, because its partitions are idle, comes out again when
        it is whole, and after that only with the owners that a late point changed.
        """
        emitted = self.emitted.get(start)
        whole = start + self.window <= times.passed
        if emitted is None:
            content = contents[start]
            self.emitted[start] = emitted = Emitted(content.rows.owner)
            emitted.early = not whole
            revisions = np.zeros(len(content.rows.owner), np.int64)
            return Out(
                self.window, start, content, revisions, whole and start + self.window > times.closed
            )
        if whole and emitted.early:
            emitted.early = False
            self.altered.pop(start, None)
            content = contents[start]
        elif start in self.altered:
            chosen = np.zeros(owners, np.bool_)
            chosen[np.concatenate(self.altered.pop(start))] = True
            content = contents[start].of(chosen)
            whole = False
        else:
            return None
        return Out(self.window, start, content, emitted.next(content.rows.owner), whole)


class Levels:
    """All of the coarser resolutions.

    Args:
        windows: their lengths, from fine to coarse.
    """

    def __init__(self, windows: tuple[int, ...]) -> None:
        self.levels = [Level(window) for window in windows]

    def close(
        self,
        finest: Mapping[int, Content],
        changed: Mapping[int, NDArray[np.int32]],
        times: Times,
        owners: int,
    ) -> Iterator[Out]:
        """Yield what comes out, from fine to coarse.

        Args:
            finest: by start, the finest windows that can still change.
            changed: by start, owners whose row in a finest window changed since it came out.
            times: what is due.
            owners: number of owners.
        """
        below = _Contents({start: partial(_itself, content) for start, content in finest.items()})
        for level in self.levels:
            children = level.children(below.starts)
            level.note(changed)
            mine = _Contents(
                {
                    start: partial(
                        _joined, level.folded.get(start), below, children.get(start, ()), owners
                    )
                    for start in level.due(children.keys(), times.limit)
                }
            )
            changed = {}
            for start in mine.starts:
                out = level.shown(start, mine, times, owners)
                if out is not None:
                    changed[start] = out.content.rows.owner
                    yield out
            below = mine

    def fold(self, handed: Mapping[int, Content], limit: int, owners: int) -> None:
        """Hand on what can no longer change.

        Args:
            handed: by start, finest windows that can't.
            limit: windows that end by then can't.
            owners: number of owners.
        """
        for level in self.levels:
            for start, content in handed.items():
                at = level.start_of(start)
                before = level.folded.get(at)
                parts = [content] if before is None else [before, content]
                level.folded[at] = merge_content(parts, owners)
            done = [start for start in level.folded if start + level.window <= limit]
            handed = {start: level.folded.pop(start) for start in done}
            for start in [s for s in level.emitted if s + level.window <= limit]:
                del level.emitted[start]
                level.altered.pop(start, None)

    def renumber(self, change: Renumbered) -> None:
        """Take up new numbers of owners."""
        for level in self.levels:
            level.folded = {
                start: renumber_content(content, change.owners)
                for start, content in level.folded.items()
            }
            for emitted in level.emitted.values():
                emitted.renumber(change.owners)
            level.altered = {
                start: [change.owners[who] for who in altered]
                for start, altered in level.altered.items()
            }

    def snapshot(self, closed: int) -> dict[int, Any]:
        """Return plain data; ``closed`` is the watermark of the last close."""
        return {
            level.window: {
                "folded": {
                    start: (pack(content.rows), pack(content.sketches))
                    for start, content in level.folded.items()
                },
                "emitted": {
                    start: state
                    for start, emitted in level.emitted.items()
                    if (state := emitted_state(emitted, start + level.window > closed))
                },
                "altered": {
                    start: np.concatenate(altered).astype(np.int32).tobytes()
                    for start, altered in level.altered.items()
                },
            }
            for level in self.levels
        }

    def restore(self, state: dict[int, Any]) -> None:
        """Take up what ``snapshot`` gave of the levels that there still are."""
        for level in self.levels:
            if level.window in state:
                level.folded = {
                    start: Content(unpack(NO_ROWS, rows), unpack(NO_SKETCHES, sketches))
                    for start, (rows, sketches) in state[level.window]["folded"].items()
                }

    def rebuild(
        self, finest: Mapping[int, Content], state: dict[int, Any], closed: int, owners: int
    ) -> None:
        """Note what had come out by ``closed``, and in which revision; see ``close``."""
        for _ in self.close(finest, {}, Times(closed, closed, closed), owners):
            pass  # only what it notes is wanted
        for level in self.levels:
            mine = state.get(level.window, {"emitted": {}, "altered": {}})
            for start, emitted in mine["emitted"].items():
                known = restored_emitted(level.emitted.get(start), emitted)
                known.early = start + level.window > closed
                level.emitted[start] = known
            for start, altered in mine["altered"].items():
                if start in level.emitted:
                    level.altered[start] = [np.frombuffer(altered, np.int32)]

    @property
    def open(self) -> bool:
        """Whether a window that was shown early has changed since."""
        return any(level.altered for level in self.levels)

    def pending(self) -> bool:
        """Whether something is held that will come out."""
        return any(level.folded for level in self.levels)


class _Contents:
    """Contents by start of their window, made when they are asked for, and once."""

    def __init__(self, make: dict[int, Callable[[], Content]]) -> None:
        self._make = make
        self._made: dict[int, Content] = {}

    @property
    def starts(self) -> Iterable[int]:
        return self._make.keys()

    def __getitem__(self, start: int) -> Content:
        if start not in self._made:
            self._made[start] = self._make[start]()
        return self._made[start]


def _itself(content: Content) -> Content:
    return content


def _joined(
    folded: Content | None, below: _Contents, children: Iterable[int], owners: int
) -> Content:
    parts = [below[child] for child in sorted(children)]
    return merge_content(parts if folded is None else [folded, *parts], owners)


def emitted_state(emitted: Emitted | None, shown: bool) -> dict[str, bytes] | None:
    """Return what a snapshot must hold of what came out: the revised, or all if it was ``shown``.

    ``shown`` says that the watermark has not passed the window: why it came out can't be told. It
    may have come out with nothing in it, which must be known too: what is in it since then is owed.
    """
    if emitted is None:
        return None
    chosen = np.ones(len(emitted.owners), np.bool_) if shown else emitted.revisions > 0
    if not (shown or chosen.any()):
        return None
    return {
        "owners": emitted.owners[chosen].tobytes(),
        "revisions": emitted.revisions[chosen].tobytes(),
    }


def restored_emitted(known: Emitted | None, state: dict[str, bytes]) -> Emitted:
    """Return ``known`` with the revisions that ``emitted_state`` gave."""
    owners = np.frombuffer(state["owners"], np.int32).copy()
    revisions = np.frombuffer(state["revisions"], np.int64).copy()
    if known is None:
        return Emitted(owners, revisions)
    at = np.searchsorted(known.owners, owners)
    inside = at < len(known.owners)
    there = inside.copy()
    there[inside] = known.owners[at[inside]] == owners[inside]
    known.revisions[at[there]] = revisions[there]
    # What came out and was taken back is not there any more.
    every = np.concatenate([known.owners, owners[~there]])
    order = np.argsort(every, kind="stable")
    return Emitted(every[order], np.concatenate([known.revisions, revisions[~there]])[order])
