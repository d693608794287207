"""What every process of a flow does beside its dataflow: log, answer HTTP, send heartbeats."""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from flows.garbage import look_for_garbage_again
from flows.process.ending import end_by_signal, ending, handle_signals, report_failures
from flows.process.endpoint import EndpointError, MonitoringEndpoint
from flows.process.health import Pulse
from flows.process.heartbeat import Heart
from flows.process.lean_start import leave_out_what_is_not_used
from flows.process.log import log_to_stderr
from flows.process.parent import end_with_parent
from flows.process.publisher import Publisher
from flows.process.recovery_store import StoreError, check_store
from flows.process.redaction import Redaction
from flows.process.workers import (
    has_recovery,
    is_run_by_bytewax,
    recovery_directory,
    requested_workers,
)
from flows.settings import Settings, SettingsError, load_settings
from flows.version import version
from operators.kafka.clients import InvalidOptions, verify_options

__all__ = ["is_run_by_bytewax", "serve"]

_log = logging.getLogger(__name__)

_SETTINGS_FAULT: Final = 2
_serving: dict[str, Settings] = {}


def serve(
    flow: str,
    settings: Settings | None = None,
    topics: Sequence[str] = (),
    *,
    destinations: Callable[[Settings], Mapping[str, Sequence[str]]] = lambda _: {},
    keeps_state: bool = True,
) -> Settings:
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
        destinations: for a flow whose destinations read for themselves, the topics of each.
        keeps_state: whether the flow loses something by running without a recovery store.

    Returns:
        The settings.

    Raises:
        SystemExit: with status 2, the settings can't be used; one line has said why.
    """
    if _serving:
        return next(iter(_serving.values()))
    look_for_garbage_again()
    leave_out_what_is_not_used()
    try:
        used = settings or load_settings()
        verify_options(used.kafka)
        if keeps_state and is_run_by_bytewax() and (store := recovery_directory()) is not None:
            place = requested_workers()
            check_store(Path(store), flow, used, alone=place is None or place["processes"] == 1)
        _start(flow, used, topics, destinations(used), keeps_state=keeps_state)
    except InvalidOptions as error:
        print(f"headrace: kafka.options: {error}", file=sys.stderr)
        raise SystemExit(_SETTINGS_FAULT) from None
    except (SettingsError, EndpointError, StoreError) as error:
        print(f"headrace: {error}", file=sys.stderr)
        raise SystemExit(_SETTINGS_FAULT) from None
    _serving[flow] = used
    return used


def _start(
    flow: str,
    settings: Settings,
    topics: Sequence[str],
    destinations: Mapping[str, Sequence[str]],
    *,
    keeps_state: bool,
) -> None:
    monitoring = settings.monitoring
    last = log_to_stderr(monitoring.log_level, Redaction(settings))
    atexit.register(end_by_signal)  # registered first, so it runs last
    handle_signals()
    report_failures()
    end_with_parent()

    pulse = Pulse()
    endpoint = MonitoringEndpoint(flow, pulse, monitoring.host, monitoring.port_of(flow))
    forever = settings.run.until == "forever"
    if keeps_state and is_run_by_bytewax() and forever and not has_recovery():
        _log.warning(
            "flow %s has no recovery store: after a stop it begins at what it has committed, and what it "
            "learned, and which incidents or alerts are open, is lost. Make one with "
            "`python -m bytewax.recovery DIR 4` and run with -r DIR -s 5 -b 0",
            flow,
        )
    interval = monitoring.status_interval / 1e9
    heart = Heart(
        flow,
        version=version(),
        group=f"{settings.kafka.group}.{flow}",
        topics=topics,
        destinations=destinations,
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
