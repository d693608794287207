"""The rules that flows go by: of files, which are read again when they change, and of the settings."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import Final

from operators.rules.files import FileGroup, RuleFileError, read_file
from operators.rules.placement import Places, arranged, digest_of, places_of
from operators.rules.selected import SelectedSeries, reach_of

__all__ = ["Agree", "LoadedRules", "PlacesUnknown", "RuleFiles", "Rules"]

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 2.0
_MOST_SHARDS: Final = 63


@dataclass(frozen=True)
class LoadedRules:
    """Rules that can be evaluated, all of them.

    Attributes:
        version: another number whenever they changed.
        shards: the groups of each shard, in the order in which they are evaluated.
        selected: says which shards look at a series.
        reach: how far back (ms) the rules look.
    """

    version: int
    shards: tuple[tuple[FileGroup, ...], ...]
    selected: SelectedSeries
    reach: int

    @property
    def groups(self) -> list[FileGroup]:
        """All groups, by file and name."""
        found = [group for groups in self.shards for group in groups if not group.shadow]
        return sorted(found, key=lambda group: (group.file, group.name))


class PlacesUnknown(Exception):
    """Where groups stand can't be agreed on now; the text says why."""


Rules = Callable[[], LoadedRules]
"""Gives the rules as they are now."""

Agree = Callable[[str, Callable[[Places], Places]], Places]
"""Given a digest of groups, and what says where they ought to stand by where they stood, returns
where they stand, the same in all processes; raises ``PlacesUnknown`` if that can't be told now."""


def _matching(pattern: str) -> list[str]:
    return sorted(glob(pattern, recursive=True))  # noqa: PTH207 - Path has none of absolute ones


class RuleFiles:
    """Reads rule files, and reads them again when one changes, or when it is asked to.

    Args:
        patterns: paths, with ``*`` and ``?``.
        more: groups that stand in no file.
        shards: how many shards there are.
        interval: of groups that say none, in ms.
        offset: the ``query_offset`` (ms) of groups that say none.
        lookback: how old (ms) the last sample of a series may be.
        longest: how far back (ms) a rule may look.
        agree: has all processes place groups alike, also after a restart; without it a group
            stays where it stood for as long as this process runs.

    Raises:
        RuleFileError: a pattern matches nothing, a file can't be read, or something in one can't
            be evaluated; the text names file, group and rule.
        PlacesUnknown: where groups stand can't be agreed on.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        more: Sequence[FileGroup] = (),
        *,
        shards: int = 1,
        interval: int = 60_000,
        offset: int = 0,
        lookback: int = 300_000,
        longest: int = 86_400_000,
        agree: Agree | None = None,
    ) -> None:
        self._patterns = tuple(patterns)
        self._more = tuple(more)
        self._shards = min(shards, _MOST_SHARDS)
        self.interval = interval
        self._offset = offset
        self.lookback = lookback
        self._longest = longest
        self._agree = agree
        self._places: Places = {}
        self._lock = threading.Lock()
        self._look_at = 0.0
        self._asked = False
        self._seen = self._state()
        self._digest = ""
        self._now = self._load(1)

    def __call__(self) -> LoadedRules:
        """Return the rules as they are now. Files that can't be used any more leave them as they were."""
        now = time.monotonic()
        if now < self._look_at:
            return self._now
        with self._lock:
            self._look_at = now + _LOOK_SECONDS
            state = self._state()
            if state != self._seen or self._asked:
                asked, self._asked = self._asked, False
                before, self._seen = self._seen, state
                try:
                    self._now = self._load(self._now.version + 1)
                    _log.info("rules were read again: %d groups", len(self._now.groups))
                except RuleFileError as error:
                    _log.error("rules stay as they were: %s", error)
                except PlacesUnknown as error:
                    _log.warning("rules stay as they were for now: %s", error)
                    self._seen, self._asked = before, self._asked or asked
        return self._now

    def read_again(self) -> LoadedRules:
        """Read the files again, whether they look changed or not; return the rules."""
        self._asked = True
        self._look_at = 0.0
        return self()

    def paths(self) -> list[Path]:
        """Return the files, each once."""
        found: dict[str, None] = {}
        for pattern in self._patterns:
            found |= dict.fromkeys(_matching(pattern))
        return [Path(path) for path in found]

    def _state(self) -> dict[Path, tuple[int, int, int]]:
        state = {}
        for path in self.paths():
            try:
                told = path.stat()
            except OSError:
                continue
            state[path] = (told.st_mtime_ns, told.st_size, told.st_ino)
        return state

    def _load(self, version: int) -> LoadedRules:
        groups = list(self._more)
        for pattern in self._patterns:
            if not _matching(pattern):
                raise RuleFileError(f"rules.files: no file matches {pattern}")
        for path in self.paths():
            groups += read_file(path)
        groups = [self._filled(group) for group in groups]
        digest = digest_of(groups)
        if digest == self._digest:
            return self._now
        reach = max((self._reach(group) for group in groups), default=self.lookback)
        shards = self._placed(groups, digest)
        selected = SelectedSeries(
            [[rule for group in part for rule in group.rules] for part in shards],
            self.lookback,
            self.interval,
        )
        self._digest = digest
        return LoadedRules(version, tuple(map(tuple, shards)), selected, reach)

    def _placed(self, groups: Sequence[FileGroup], digest: str) -> list[list[FileGroup]]:
        """Return the groups of each shard."""

        def wanted(stood: Places) -> Places:
            return places_of(groups, self._shards, stood)

        agreed = wanted(self._places) if self._agree is None else self._agree(digest, wanted)
        self._places = {**self._places, **agreed}
        return arranged(groups, self._shards, self._places)

    def _filled(self, group: FileGroup) -> FileGroup:
        """Return a group with what is not said of it taken from the settings."""
        offset = self._offset if group.offset is None else group.offset
        return replace(group, interval=group.interval or self.interval, offset=offset)

    def _reach(self, group: FileGroup) -> int:
        reaches = {
            rule.name: reach_of([rule], self.lookback, self.interval) for rule in group.rules
        }
        for name, reach in reaches.items():
            if reach > self._longest:
                raise RuleFileError(
                    f'{group.file}: group "{group.name}": rule "{name}": it looks back '
                    f"{reach // 1000} s, more than rules.longest_range ({self._longest // 1000} s): "
                    "record a coarser series first, or raise it; each series keeps its samples for "
                    "that long in memory, and after a restart they are read again"
                )
        return max(reaches.values(), default=0) + (group.offset or 0)
