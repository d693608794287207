"""`python -m tests.backends prepare`: get every server ahead of time.

A second run is instant. What cannot be had is one line each; in CI (`CI` is set) the exit code
is then 1, elsewhere 0, because the tests that need it will be skipped.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.backends import elasticsearch, in_ci, kafka
from tests.backends.cache import Progress
from tests.backends.go_template import build as go_template
from tests.backends.influxd import build
from tests.backends.lineprotocol import peer
from tests.backends.process import ServerError
from tests.backends.prometheus_model import build as prometheus_model
from tests.backends.promql_engine import build as promql_engine

SERVERS: dict[str, Callable[[Progress], Path]] = {
    kafka.KafkaServer.name: kafka.prepare,
    elasticsearch.NAME: elasticsearch.prepare,
    build.NAME: build.influxd,
    peer.NAME: peer.program,
    go_template.NAME: go_template.program,
    prometheus_model.NAME: prometheus_model.model,
    promql_engine.NAME: promql_engine.program,
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
