"""How long a flow takes to go on after it was killed, with all of its series in open windows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bytewax.recovery import init_db_dir

from bench.case import Job
from bench.load import Load
from bench.run import Child, FailedError, environment, run_all
from bench.snapshots import offsets_read
from bench.topic import PREFIX, create, producer, write

__all__ = ["restart"]

_SECONDS = 4
"""Of the load: less than a window, so all stay open."""
_PATIENCE_SECONDS = 300


def restart(bootstrap: str, series: int, directory: Path) -> dict[str, float]:
    """Kill a flow that holds ``series`` open series, and start it again.

    Returns:
        ``restart_seconds`` from the start of the process to the first message that it reads;
        ``restart_ready_seconds``, what of that is Python's imports and making the flow;
        ``restart_done_seconds`` until it has also read a point of each series and closed all.

    Raises:
        FailedError: a flow ended, or never had a snapshot of all.
    """
    load = Load(series, _SECONDS + 1)
    topic = f"{PREFIX}restart"
    create(bootstrap, topic)
    writer, client = load.writer(), producer(bootstrap, load.encoding)
    count = 0
    for second in range(_SECONDS):
        messages = writer.write(second)
        write(client, topic, messages, load.encoding)
        count += len(messages)
    client.flush()
    env = environment(bootstrap, topic, load)
    with tempfile.TemporaryDirectory(dir=directory) as place:
        store = Path(place)
        init_db_dir(store, 4)
        job = Job("flow", recovery=place, epoch=1.0)
        _run_until_saved(job, {**env, "HEADRACE__RUN__UNTIL": "forever"}, store, count)
        write(client, topic, writer.write(_SECONDS), load.encoding)
        client.flush()
        run = run_all([job], env, series)
    return {
        "restart_seconds": run.first,
        "restart_ready_seconds": run.ready,
        "restart_done_seconds": run.whole,
        "restart_series": float(series),
    }


def _run_until_saved(job: Job, env: Mapping[str, str], store: Path, messages: int) -> None:
    """Run a flow until a snapshot has all messages and its epoch is over, then kill it."""
    child = Child(job, env)
    try:
        child.wait_until_ready()
        child.go()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        saved: int | None = None
        while True:
            if child.done(0.25):
                raise child.failure()
            read, epoch = offsets_read(store)
            if read >= messages:
                saved = epoch if saved is None else saved
                if epoch >= saved + 2:
                    return
            if time.monotonic() > deadline:
                raise FailedError(f"restart: only {read} of {messages} messages in the store")
    finally:
        child.kill()
