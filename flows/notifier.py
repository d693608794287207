"""The flow ``notifier``: alert events from Kafka to receivers.

    alerts topic ─► decode ─► group, deduplicate, wait ─► webhook, Slack, console
                      │                  ▲                         │
                      │                  └──── told, or given up ◄─┘
                      └─ rejected ─► dead-letter topic

Run it with ``python -m bytewax.run flows.notifier``, and with recovery (``-r DIR -s 5 -b 0``) to
have it remember over a restart what it has told. More workers do not make it faster.
"""

from __future__ import annotations

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from flows.inputs import kafka_source
from flows.outputs import Outputs
from flows.receivers import delivery, root_route
from flows.serving import serve
from flows.settings import Settings
from operators.notifying.grouping import routing
from operators.notifying.operator import notify

__all__ = ["build"]

NAME = "notifier"


def build(settings: Settings) -> Dataflow:
    """Return the dataflow."""
    flow = Dataflow(NAME)
    polled = op.input("kafka", flow, kafka_source(settings, NAME, (settings.topics.alerts,)))
    notified = notify(
        "notify",
        polled,
        routing=routing(root_route(settings.notifier)),
        courier=lambda: delivery(settings.notifier),
    )
    Outputs(settings, NAME).dead_letters(notified.rejected)
    return flow


def __getattr__(name: str) -> Dataflow:
    """Make the flow when the Bytewax runner asks for it, not when this module is imported."""
    if name == "flow":
        return build(serve(NAME))
    raise AttributeError(name)
