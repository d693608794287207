"""The flow ``notifier``: alert events from Kafka to receivers.

    alerts topic ───┐                            ┌─► notifications topic
    commands topic ─┴► decode ─► hold back, group ─┴─► webhook, Slack, mail, PagerDuty, ...
                         │          ▲   ▲  ▲                    │
                         │         API  │  └─ told, or given up ┘
                         │              └─ causes topic
                         └─ rejected ─► dead-letter topic

Run it with ``python -m bytewax.run flows.notifier``, and with recovery (``-r DIR -s 5 -b 0``) to
have it remember over a restart what it has told. More workers do not make it faster.
"""

from __future__ import annotations

from bytewax.dataflow import Dataflow

from flows.api import serve_api
from flows.causes import FollowedRankings
from flows.inputs import kafka_source
from flows.notifying import plan
from flows.outputs import Outputs
from flows.process import serve
from flows.settings import Settings
from operators.bytewax import read
from operators.notifying.step import notify
from sinks.notification_log import read_told

__all__ = ["build"]

NAME = "notifier"


def build(settings: Settings) -> Dataflow:
    """Return the dataflow."""
    flow = Dataflow(NAME)
    topics = settings.topics
    forever = settings.run.until == "forever"
    reads = (topics.alerts, topics.commands) if forever else (topics.alerts,)
    polled = read("kafka", flow, kafka_source(settings, NAME, reads))
    going_by = plan(settings.notifier)
    correlation = settings.notifier.correlation
    notified = notify(
        "notify",
        polled,
        routing=going_by.routing(),
        courier=going_by.courier,
        holds=lambda: going_by.holds(settings.notifier),
        waits_for_old=settings.notifier.waits_for_old,
        prompt_resolves=settings.notifier.prompt_resolves,
        correlation=correlation.correlation() if correlation else None,
        commands_topic=topics.commands,
        told_since=lambda at: read_told(settings.kafka, topics.notifications, at),
        explain=lambda: FollowedRankings(settings.kafka, topics.causes).explained,
        serve=serve_api(settings) if forever and settings.notifier.api else None,
    )
    outputs = Outputs(settings, NAME)
    outputs.dead_letters(notified.rejected)
    outputs.notifications(notified.records)
    outputs.incidents(notified.incidents)
    return flow


def __getattr__(name: str) -> Dataflow:
    """Make the flow when the Bytewax runner asks for it, not when this module is imported."""
    if name == "flow":
        return build(serve(NAME))
    raise AttributeError(name)
