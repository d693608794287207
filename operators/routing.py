"""A step that makes several kinds of items, and streams of one kind each after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["only"]

T = TypeVar("T")


def only(*kinds: type[T]) -> Callable[[Any], T | None]:
    """Return a function for ``filter_map`` that lets items of ``kinds`` pass."""

    def choose(item: Any) -> T | None:
        return item if isinstance(item, kinds) else None

    return choose
