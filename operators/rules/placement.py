"""Which groups of rules stand on which shard: together where one needs what another records."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from operators.rules.files import FileGroup
from operators.rules.label_sets import NAME
from operators.rules.selected import looks_at, recorded_by, size_of

__all__ = ["Places", "arranged", "digest_of", "in_order", "key_of", "places_of"]

Places = Mapping[tuple[str, str], int]
"""The shard that each group stands on, by its file and name."""

_ROOM = 1.25
"""How much more than its share of the work a shard may get."""


def places_of(groups: Sequence[FileGroup], shards: int, stood: Places | None = None) -> Places:
    """Return the shard of each group.

    What stood on a shard stays there, since its alerts and samples are there. What is new goes to
    those that it belongs together with; else, with all of its like, to the shard that its name
    prefers, unless that has a quarter more than its share of the work already. So shards are even.

    Args:
        groups: all groups.
        shards: how many shards there are.
        stood: where groups stood before.
    """
    places = {key: stood[key] for key in map(key_of, groups) if stood is not None and key in stood}
    parts = sorted(_connected(groups), key=lambda part: (-_cost(part), _name(part)))
    total = sum(map(_cost, parts))
    loads = [0] * shards
    for group in groups:
        if key_of(group) in places:
            loads[places[key_of(group)]] += _cost([group])
    for part in parts:
        new = [group for group in part if key_of(group) not in places]
        if not new:
            continue
        cost = _cost(new)
        shard = _home(part, places)
        if shard is None:
            wanted = sorted(range(shards), key=lambda shard: _preference(part, shard))
            fits = (s for s in wanted if loads[s] + cost <= _ROOM * total / shards)
            shard = next(fits, min(wanted, key=lambda s: loads[s]))
        loads[shard] += cost
        places |= {key_of(group): shard for group in new}
    return places


def arranged(groups: Sequence[FileGroup], shards: int, places: Places) -> list[list[FileGroup]]:
    """Return the groups of each shard, each group after those whose series it needs.

    Where those stand on another shard, for they stood apart before, a shard has shadows of them:
    they make the same series again, for its own groups alone.
    """
    needs = _needs(groups)
    made = []
    for shard in range(shards):
        own = {n for n, group in enumerate(groups) if places[key_of(group)] == shard}
        wanted, found = list(own), set(own)
        while wanted:
            more = needs[wanted.pop()] - found
            found |= more
            wanted += more
        made.append(
            in_order([g if n in own else replace(g, shadow=True) for n, g in enumerate(groups)
                      if n in found])
        )  # fmt: skip
    return made


def key_of(group: FileGroup) -> tuple[str, str]:
    """Return what tells a group apart from all others."""
    return group.file, group.name


def digest_of(groups: Sequence[FileGroup]) -> str:
    """Return a text that is another one for other groups."""
    told = sorted(map(repr, groups))
    return hashlib.blake2b("\0".join(told).encode(), digest_size=16).hexdigest()


def _home(part: Sequence[FileGroup], stood: Places) -> int | None:
    """Return the shard on which most of a part stands; None if all of it is new."""
    loads: dict[int, int] = {}
    for group in part:
        shard = stood.get(key_of(group))
        if shard is not None:
            loads[shard] = loads.get(shard, 0) + _cost([group])
    return min(loads, key=lambda shard: (-loads[shard], shard), default=None)


def in_order(groups: Sequence[FileGroup]) -> list[FileGroup]:
    """Return groups so that each comes after those that record what it looks at.

    Those that need each other stay in the order of their files and names.
    """
    groups = sorted(groups, key=lambda group: (group.file, group.name))
    needs = _needs(groups)
    waiting = list(range(len(groups)))
    done: set[int] = set()
    made: list[FileGroup] = []
    while waiting:
        ready = [n for n in waiting if needs[n] - {n} <= done] or waiting[:1]
        made += [groups[n] for n in ready]
        done.update(ready)
        waiting = [n for n in waiting if n not in done]
    return made


def _needs(groups: Sequence[FileGroup]) -> list[set[int]]:
    """Return for each group the numbers of those that record what it looks at."""
    makers: dict[str, set[int]] = {}
    for number, group in enumerate(groups):
        for name in recorded_by(group):
            makers.setdefault(name, set()).add(number)
    needs = []
    for group in groups:
        found: set[int] = set()
        for matchers in looks_at(group):
            exact = [m.value for m in matchers if m.name == NAME and m.operator == "="]
            conditions = [m for m in matchers if m.name == NAME]
            for name in exact[:1] or makers:
                if name in makers and all(m.accepts(name) for m in conditions):
                    found |= makers[name]
        needs.append(found)
    return needs


def _connected(groups: Sequence[FileGroup]) -> list[list[FileGroup]]:
    """Return the groups in parts that need nothing of each other."""
    part_of = list(range(len(groups)))

    def root(number: int) -> int:
        while part_of[number] != number:
            number = part_of[number]
        return number

    for number, makers in enumerate(_needs(groups)):
        for maker in makers:
            part_of[root(maker)] = root(number)
    parts: dict[int, list[FileGroup]] = {}
    for number, group in enumerate(groups):
        parts.setdefault(root(number), []).append(group)
    return list(parts.values())


def _cost(part: Sequence[FileGroup]) -> int:
    return sum(size_of(rule) for group in part for rule in group.rules)


def _name(part: Sequence[FileGroup]) -> str:
    return min(f"{group.file}\0{group.name}" for group in part)


def _preference(part: Sequence[FileGroup], shard: int) -> bytes:
    text = f"{_name(part)}\0{shard}"
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
