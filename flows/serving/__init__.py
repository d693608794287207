"""What every process of a flow does beside its dataflow: log, answer HTTP, send heartbeats."""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Sequence
from typing import Final

from flows.serving.ending import end_by_signal, ending, handle_signals, report_failures
from flows.serving.endpoint import Endpoint, EndpointError
from flows.serving.health import Pulse
from flows.serving.heartbeat import Heart
from flows.serving.log import log_to_stderr
from flows.serving.publisher import Publisher
from flows.serving.redaction import Redaction
from flows.serving.workers import has_recovery, is_run_by_bytewax, requested_workers
from flows.settings import Settings, SettingsError, load_settings
from flows.version import version

__all__ = ["is_run_by_bytewax", "serve"]

_log = logging.getLogger(__name__)

_SETTINGS_FAULT: Final = 2
_serving: dict[str, Settings] = {}


def serve(flow: str, settings: Settings | None = None, topics: Sequence[str] = ()) -> Settings:
    """Do all that, from now to the end of the process; call it when the flow is about to run.

    Logs to standard error, one line a record, from ``monitoring.log_level`` on. Answers
    ``/metrics`` and ``/health`` on ``monitoring.host`` and ``monitoring.port``. Publishes a
    heartbeat to ``topics.status`` every ``monitoring.status_interval``, and a last one at the
    end. Has SIGTERM end the flow as Ctrl-C does, with the exit status of the signal.

    A second call in the same process changes nothing.

    Args:
        flow: name of the flow, the last part of its consumer group's name.
        settings: of this process; read as ``load_settings`` does if left out.
        topics: that the flow reads. The heartbeat names those that are being read anyhow.

    Returns:
        The settings.

    Raises:
        SystemExit: with status 2, the settings can't be used; one line has said why.
    """
    if _serving:
        return next(iter(_serving.values()))
    try:
        used = settings or load_settings()
        _start(flow, used, topics)
    except (SettingsError, EndpointError) as error:
        print(f"headrace: {error}", file=sys.stderr)
        raise SystemExit(_SETTINGS_FAULT) from None
    _serving[flow] = used
    return used


def _start(flow: str, settings: Settings, topics: Sequence[str]) -> None:
    monitoring = settings.monitoring
    last = log_to_stderr(monitoring.log_level, Redaction(settings))
    atexit.register(end_by_signal)  # registered first, so it runs last
    handle_signals()
    report_failures()

    pulse = Pulse()
    endpoint = Endpoint(flow, pulse, monitoring.host, monitoring.port)
    if is_run_by_bytewax() and settings.run.until == "forever" and not has_recovery():
        _log.warning(
            "flow %s has no recovery store: what is open when it stops is lost to it, so the windows "
            "of that moment will be incomplete. Make one with `python -m bytewax.recovery DIR 4` and "
            "run with -r DIR -s 5 -b 0",
            flow,
        )
    interval = monitoring.status_interval / 1e9
    heart = Heart(
        flow,
        version=version(),
        group=f"{settings.kafka.group}.{flow}",
        topics=topics,
        address=endpoint.address,
        workers=requested_workers() if is_run_by_bytewax() else None,
        interval=interval,
        pulse=pulse,
        problem=lambda: last.problem,
    )
    publisher = Publisher(heart, settings.kafka, settings.topics.status, interval)
    publisher.start()
    atexit.register(lambda: publisher.stop(ending()))
    _log.info("flow %s, version %s: metrics at %s", flow, version(), endpoint.address)
