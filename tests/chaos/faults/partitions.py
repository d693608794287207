"""An input topic that grows."""

from __future__ import annotations

import random

from tests.chaos.chapter import Chapter


def add(chapter: Chapter, _variant: None, _choice: random.Random) -> str:
    """Add a partition to the input topic, and write to it at once."""
    number = chapter.feed.add_partition()
    # It is found within 10 s. What was written by then came late, which is what lateness is for.
    return f"partition {number}"
