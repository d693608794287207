"""What a template is about: the same fields and methods as Alertmanager gives."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from operators.notifying.alert import Alert
from operators.notifying.causes import causes_of
from operators.notifying.notification import Notification, common_pairs, status_of
from operators.templating import List, Map, Object
from sinks.channels.texts.go_time import GoTime

__all__ = ["data_of"]

_GO_META: Final = re.compile(r"[\\.+*?()|\[\]{}^$]")


def data_of(notification: Notification, external_url: str) -> Object:
    """Return the dot of a template.

    Besides Alertmanager's fields there are ``.GroupKey``, ``.Reason`` (why it is told) and
    ``.Incident`` (what else belongs to the incident: ``.Incident.members``, empty without one), and of
    each alert ``.Causes``: the services probably behind it, each with ``.service``, ``.operation``,
    ``.why``, ``.before``, ``.now``, ``.unit`` and ``.part``.
    """
    alerts = notification.alerts
    return Object(
        {
            "Receiver": quoted_receiver(notification.receiver),
            "Status": status_of(alerts),
            "Alerts": _alerts(alerts),
            "GroupLabels": _pairs(notification.group_labels),
            "CommonLabels": _pairs(common_pairs(alert.labels for alert in alerts)),
            "CommonAnnotations": _pairs(common_pairs(alert.annotations for alert in alerts)),
            "ExternalURL": external_url,
            "GroupKey": notification.group_key,
            "Reason": notification.reason.value,
            "Incident": Map(dict(notification.context or {})),
        }
    )


def quoted_receiver(name: str) -> str:
    """Return a receiver's name as it stands in a regular expression, as Alertmanager tells it."""
    return _GO_META.sub(r"\\\g<0>", name)


def _alerts(alerts: Sequence[Alert]) -> List:
    made = [_alert(alert) for alert in alerts]

    def of(status: str) -> list[Object]:
        return [alert for alert in made if alert.fields["Status"] == status]

    return List(made, {"Firing": lambda: of("firing"), "Resolved": lambda: of("resolved")})


def _alert(alert: Alert) -> Object:
    return Object(
        {
            "Status": "resolved" if alert.resolved else "firing",
            "Labels": _pairs(alert.labels),
            "Annotations": _pairs(alert.annotations),
            "StartsAt": GoTime(alert.starts_at),
            "EndsAt": GoTime(alert.ends_at if alert.resolved else None),
            "GeneratorURL": alert.generator_url,
            "Fingerprint": alert.fingerprint,
            "Causes": List([Map(cause) for cause in causes_of(alert)], {}),
        }
    )


def _pairs(pairs: Mapping[str, str]) -> Map:
    """Return Alertmanager's ``KV``."""
    return Map(
        pairs,
        "",
        {
            "SortedPairs": lambda: _sorted(pairs),
            "Remove": lambda names: _pairs(
                {name: value for name, value in pairs.items() if name not in names}
            ),
            "Names": lambda: [pair.fields["Name"] for pair in _sorted(pairs)],
            "Values": lambda: [pair.fields["Value"] for pair in _sorted(pairs)],
        },
    )


def _sorted(pairs: Mapping[str, str]) -> List:
    """Return pairs by name, the ``alertname`` first."""
    names = sorted(pairs, key=lambda name: (name != "alertname", name))
    made = [Object({"Name": name, "Value": pairs[name]}) for name in names]

    def all_of(field: str) -> list[Any]:
        return [pair.fields[field] for pair in made]

    return List(made, {"Names": lambda: all_of("Name"), "Values": lambda: all_of("Value")})
