"""What the keys of structured logs mean: which is the time, the severity, the message.

Shippers and libraries call the same thing by many names. For each role the names are in the order
in which they count; of one that stands twice, the first counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.compiling import compiled
from operators.columns.text_column import TextColumn, texts_at
from operators.decoders.json.flattening import NULL, Members, texts_of_members, written

__all__ = ["ROLES", "Fields", "RoleTexts", "fields_of"]

ROLES: Final[dict[str, tuple[str, ...]]] = {
    "time": (
        "@timestamp", "timestamp", "Timestamp", "time", "ts", "datetime", "eventTime", "event_time",
        "asctime", "@t", "date", "t", "TimeUnixNano", "timeUnixNano", "TIMESTAMP", "__REALTIME_TIMESTAMP",
    ),
    "number": ("severity_number", "severityNumber", "SeverityNumber"),
    "severity": (
        "severity_text", "severityText", "SeverityText", "level", "log.level", "severity", "levelname",
        "loglevel", "log_level", "lvl", "Level", "LogLevel", "logLevel", "LEVEL", "SEVERITY", "Severity",
        "@l", "syslog.severity", "log.syslog.severity.name",
    ),
    "priority": ("PRIORITY", "log.syslog.severity.code", "syslog_severity"),
    "body": (
        "message", "msg", "body", "Body", "body.text", "log", "event.original", "MESSAGE", "@message",
        "short_message", "Message", "@m", "RenderedMessage", "text", "@mt",
    ),
    "trace": (
        "trace_id", "traceId", "trace.id", "TraceId", "traceID", "TraceID", "traceid", "otelTraceID",
        "mdc.trace_id", "mdc.traceId", "contextMap.trace_id", "context.trace_id", "@tr",
    ),
    "span": (
        "span_id", "spanId", "span.id", "SpanId", "spanID", "SpanID", "spanid", "otelSpanID",
        "mdc.span_id", "mdc.spanId", "contextMap.span_id", "context.span_id", "@sp",
    ),
    "service": (
        "service.name", "service", "service_name", "serviceName", "otelServiceName",
        "kubernetes.labels.app.kubernetes.io/name", "kubernetes.labels.app_kubernetes_io/name",
        "kubernetes.labels.app", "kubernetes.labels.k8s-app", "kubernetes.container_name",
        "kubernetes.container.name", "container_name", "container.name", "application", "app", "appname",
        "SYSLOG_IDENTIFIER", "program", "programname",
    ),
    "stack": (
        "exception.stacktrace", "error.stack_trace", "stack_trace", "stackTrace", "stacktrace", "err.stack",
        "error.stack", "exc_info", "exception.stack_trace", "thrown.extendedStackTrace", "@x", "Exception",
        "exception", "stack",
    ),
    "exception_type": ("exception.type", "error.type", "err.type", "error.kind", "thrown.name", "err.name"),
    "exception_message": ("exception.message", "error.message", "err.message", "thrown.message"),
}  # fmt: skip
_KEPT: Final = ("service", "stack", "exception_type", "exception_message")
"""Roles whose keys stay among the attributes, too."""


class RoleTexts(NamedTuple):
    """What rows say of one role: texts, empty where nothing, and whether there is one."""

    texts: TextColumn
    there: NDArray[np.bool_]

    def series(self) -> pl.Series:
        """Return them as a column of String, null where there is none."""
        texts = texts_at(*self.texts)
        return texts if self.there.all() else texts.set(pl.Series(~self.there), None)


@dataclass(frozen=True, slots=True)
class Fields:
    """The values of roles that any row says something of, and all else as flat JSON objects."""

    roles: dict[str, RoleTexts]
    attributes: TextColumn

    def at(self, rows: NDArray[np.intp]) -> Fields:
        """Return those of some rows."""
        roles = {
            role: RoleTexts(each.texts.of(rows), each.there[rows])
            for role, each in self.roles.items()
            if each.there[rows].any()
        }
        return Fields(roles, self.attributes.of(rows))


def fields_of(members: Members, first: dict[str, tuple[str, ...]] | None = None) -> Fields:
    """Return what the members of each row mean.

    Args:
        members: of the rows.
        first: keys that count before those of ``ROLES``, by role.
    """
    roles = list(ROLES)
    names = {
        path: (number, rank)
        for number, role in reversed(list(enumerate(roles)))
        for rank, path in enumerate((*(first or {}).get(role, ()), *ROLES[role]))
    }
    of_path = np.array([names.get(path, (-1, 0)) for path in members.paths], np.int64).reshape(
        -1, 2
    )
    chosen = np.full((len(roles), len(members.status)), -1, np.int64)
    taken = np.zeros(len(members.owner), np.bool_)
    stays = np.array([role in _KEPT for role in roles])
    _choose(members.owner, members.path, members.kind, of_path, stays, chosen, taken)
    there = chosen >= 0
    texts = {
        role: RoleTexts(texts_of_members(members, chosen[number]), there[number])
        for number, role in enumerate(roles)
        if there[number].any()
    }
    return Fields(texts, written(members, ~taken))


@compiled
def _choose(
    owner: NDArray[np.int64],
    path: NDArray[np.int64],
    kind: NDArray[np.int64],
    of_path: NDArray[np.int64],
    stays: NDArray[np.bool_],
    chosen: NDArray[np.int64],
    taken: NDArray[np.bool_],
) -> None:
    """Choose for each role and row the member that counts, and say which members are used up."""
    for member in range(len(owner)):
        role = of_path[path[member], 0]
        if role >= 0 and kind[member] != NULL:
            other = chosen[role, owner[member]]
            if other < 0 or of_path[path[member], 1] < of_path[path[other], 1]:
                chosen[role, owner[member]] = member
    for member in range(len(owner)):
        role = of_path[path[member], 0]
        if role >= 0 and not stays[role]:
            other = chosen[role, owner[member]]
            taken[member] = other >= 0 and path[other] == path[member]
