"""`python -m tests.backends prepare`: get every server ahead of time.

A second run is instant. What cannot be had is one line each; in CI (`CI` is set) the exit code
is then 1, elsewhere 0, because the tests that need it will be skipped.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from flows.demo import kafka
from flows.demo.cache import Progress
from flows.demo.process import ServerError
from tests.backends import elasticsearch, in_ci
from tests.backends.influxd import build
from tests.backends.lineprotocol import peer
from tests.backends.prometheus_model import build as prometheus_model

SERVERS: dict[str, Callable[[Progress], Path]] = {
    kafka.KafkaServer.name: kafka.prepare,
    elasticsearch.NAME: elasticsearch.prepare,
    build.NAME: build.influxd,
    peer.NAME: peer.program,
    prometheus_model.NAME: prometheus_model.model,
}


def prepare() -> bool:
    """Get each server, printing what is done; return whether all could be had."""
    complete = True
    for name, get in SERVERS.items():
        begun = time.monotonic()
        try:
            get(lambda line: print(line, flush=True))
        except ServerError as error:
            complete = False
            # The rest of the message is a compiler's output: of use where someone must repair it.
            reason = str(error) if in_ci() else str(error).splitlines()[0]
            print(f"{name}: not here: {reason}", flush=True)
        else:
            print(f"{name}: ready ({time.monotonic() - begun:.1f} s)", flush=True)
    return complete


if __name__ == "__main__":
    if sys.argv[1:] != ["prepare"]:
        sys.exit("usage: python -m tests.backends prepare")
    sys.exit(0 if prepare() or not in_ci() else 1)
