"""Notifications to deliver."""

from __future__ import annotations

from operators.notifying.alert import Alert
from operators.notifying.dedup import Reason
from operators.notifying.grouping import group_key, group_labels
from operators.notifying.notification import Notification, common_pairs


def notification(*alerts: Alert, to: str = "ops/webhook[0]") -> Notification:
    """What is told about a group of these alerts, grouped by what they have in common."""
    names = frozenset({"alertname"}) & common_pairs(a.labels for a in alerts).keys()
    labels = group_labels(alerts[0].labels, names)
    return Notification(
        group=("{}", group_key("{}", labels)),
        integration=to,
        receiver=to.partition("/")[0],
        group_labels=labels,
        alerts=tuple(sorted(alerts, key=lambda a: a.order)),
        reason=Reason.FIRST,
    )
