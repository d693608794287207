"""Processes of the flow that end: killed, asked to, or to come back as another number."""

from __future__ import annotations

import random
import time

from tests.chaos.chapter import Chapter
from tests.chaos.flow import Arrangement


def kill(chapter: Chapter, _variant: None, choice: random.Random) -> str:
    """Kill a process with SIGKILL, and start all of them again."""
    victim = choice.randrange(len(chapter.flow.running))
    others = chapter.flow.kill(victim)
    time.sleep(choice.uniform(0.0, 1.0))
    chapter.flow.up()
    return f"process {victim}" + (f"; {others}" if others else "")


def kill_storage(chapter: Chapter, _variant: None, choice: random.Random) -> str:
    """Kill flow storage, and start it again some time later."""
    chapter.flow.kill_storage()
    time.sleep(choice.uniform(0.0, 3.0))
    chapter.flow.start_storage()
    return "started again"


def terminate(chapter: Chapter, _variant: None, choice: random.Random) -> str:
    """Ask all to end, which they must within five seconds, and start them again."""
    seconds = chapter.flow.terminate()
    time.sleep(choice.uniform(0.0, 1.0))
    chapter.flow.up()
    return f"ended in {seconds:.1f} s"


def rescale(chapter: Chapter, arrangement: Arrangement, choice: random.Random) -> str:
    """End it, well or not, and start it with another number of workers."""
    before = chapter.flow.arrangement
    killed = choice.random() < 0.5
    if killed:
        chapter.flow.kill(choice.randrange(len(chapter.flow.running)))
    else:
        chapter.flow.terminate()
    chapter.flow.up(arrangement)
    return f"{before} {'killed' if killed else 'ended'}, now {arrangement}"
