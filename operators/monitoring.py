"""What Headrace says of itself: every metric is declared here, with advice to the operator."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

__all__ = [
    "ACTIVE_SERIES",
    "ALERTS_FIRING",
    "ALERTS_RECEIVED",
    "ALERT_EVENTS",
    "ALERT_GROUPS",
    "BATCH_SECONDS",
    "DEAD_LETTERS",
    "LAST_POLL",
    "LATE_POINTS",
    "MESSAGES",
    "NOTIFICATIONS",
    "NOTIFICATION_FAILURES",
    "NOTIFICATION_RETRIES",
    "NOTIFICATION_SECONDS",
    "OPEN_SERIES",
    "POINTS_DECODED",
    "POINTS_REFUSED",
    "POINTS_SKIPPED",
    "ROLLUPS_EMITTED",
    "SCORES_MADE",
    "SERIES_LIMIT",
    "SERIES_REFUSED",
    "SINK_BLOCKED",
    "SINK_RETRIES",
    "SINK_ROWS",
    "SINK_SECONDS",
    "SNAPSHOT_SECONDS",
    "SOURCE_ERRORS",
    "SOURCE_LAG",
    "TENANTS_REFUSED",
    "WATERMARK_LAG",
]

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

MESSAGES = Counter(
    "headrace_messages", "Messages read from Kafka. Flat while lag grows: a sink blocks.", ["topic"]
)
SOURCE_ERRORS = Counter(
    "headrace_source_errors",
    "Errors that the Kafka consumer reported. Any steady rate wants a look at the broker.",
    ["topic", "code"],
)
SOURCE_LAG = Gauge(
    "headrace_source_lag_messages",
    "Messages in the partition that are not read yet. Growing for minutes: add workers.",
    ["topic", "partition"],
)
LAST_POLL = Gauge(
    "headrace_last_poll_timestamp_seconds",
    "When a worker of the process last asked Kafka for messages, in Unix time. More than a minute "
    "ago: a sink blocks, or the process is stuck; ask /health.",
)
POINTS_DECODED = Counter("headrace_points_decoded", "Data points decoded.", ["topic"])
POINTS_SKIPPED = Counter(
    "headrace_points_skipped",
    "Data points that are not aggregated: staleness markers, NaN, infinities, malformed ones; "
    "duplicates; overlaps, of which a steady rate means that two writers share an identity; and "
    "refused ones of series over a limit.",
    ["reason"],
)
ACTIVE_SERIES = Gauge(
    "headrace_active_series",
    "Series that the tenant has now. Near headrace_series_limit: raise limits.tenants, or drop a "
    "label with enrichment.drop.",
    ["tenant"],
)
SERIES_LIMIT = Gauge("headrace_series_limit", "The tenant's limit of active series.", ["tenant"])
SERIES_REFUSED = Counter(
    "headrace_series_refused",
    "Series beyond a limit that were refused, counted anew each time that a worker names one. The "
    "alert SeriesLimitReached says which label exploded. The metric is empty after the first "
    "hundred of a tenant.",
    ["tenant", "metric"],
)
POINTS_REFUSED = Counter(
    "headrace_points_refused",
    "Points dropped because their series is beyond a limit. They are in no rollup.",
    ["tenant"],
)
TENANTS_REFUSED = Counter(
    "headrace_tenants_refused",
    "Messages (`header`) and streams of points (`attribute`) whose tenant can't be one: empty, too "
    "long, not UTF-8, or with control characters. They are taken as the input's own tenant's.",
    ["topic", "origin"],
)
LATE_POINTS = Counter(
    "headrace_late_points",
    "Points refused for their time: too late, and kept on the late topic; or too far in the "
    "future, and their message is a dead letter. Raise rollups.lateness, or look for a host with a "
    "wrong clock.",
    ["reason"],
)
DEAD_LETTERS = Counter(
    "headrace_dead_letters",
    "Messages and documents sent to the dead-letter topic. See `headrace dead-letter list`.",
    ["origin"],
)
BATCH_SECONDS = Histogram(
    "headrace_batch_seconds", "Time a step took for one batch.", ["step"], buckets=_FAST
)
SNAPSHOT_SECONDS = Histogram(
    "headrace_snapshot_seconds",
    "Time a shard of the windows took for its snapshot, once an epoch. The flow waits meanwhile.",
    buckets=_FAST,
)
OPEN_SERIES = Gauge("headrace_open_series", "Series with state in memory.", ["shard"])
WATERMARK_LAG = Gauge(
    "headrace_watermark_lag_seconds",
    "System time less watermark. It grows during a backlog, or if a partition lags behind.",
    ["shard"],
)
ROLLUPS_EMITTED = Counter("headrace_rollups", "Rollups emitted.", ["window", "revised"])
SCORES_MADE = Counter("headrace_scores", "Rollups judged by a detector.", ["verdict"])
ALERT_EVENTS = Counter("headrace_alert_events", "Alert events made.", ["kind", "status"])
SINK_ROWS = Counter("headrace_sink_rows", "Rows that the sink's backend confirmed.", ["sink"])
SINK_SECONDS = Histogram(
    "headrace_sink_seconds", "Time of one confirmed write.", ["sink"], buckets=_FAST
)
SINK_RETRIES = Counter(
    "headrace_sink_retries", "Writes tried again. The flow waits meanwhile.", ["sink"]
)
SINK_BLOCKED = Gauge(
    "headrace_sink_blocked",
    "1 while the sink's backend can't be reached and the flow waits.",
    ["sink"],
)
ALERTS_RECEIVED = Counter(
    "headrace_alerts_received",
    "Alert events that the notifier read, by what they meant. Many `out_of_date`: something writes "
    "old events again, or a producer's clock is wrong.",
    ["arrival"],
)
ALERTS_FIRING = Gauge("headrace_alerts_firing", "Alerts that the notifier knows to fire.")
ALERT_GROUPS = Gauge(
    "headrace_alert_groups",
    "Groups of alerts. Far more than people would look at: put fewer labels in group_by.",
)
NOTIFICATIONS = Counter("headrace_notifications", "Notifications delivered.", ["channel"])
NOTIFICATION_SECONDS = Histogram(
    "headrace_notification_seconds", "Time of one try to deliver.", ["channel"], buckets=_FAST
)
NOTIFICATION_RETRIES = Counter(
    "headrace_notification_retries",
    "Tries to deliver that failed and are made again. Rising: the receiver is down or too slow.",
    ["channel"],
)
NOTIFICATION_FAILURES = Counter(
    "headrace_notification_failures",
    "Notifications given up until the group's next flush: refused, or not delivered within the "
    "group interval. See the log for the receiver's answer.",
    ["channel"],
)
