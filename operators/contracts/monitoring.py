"""What Headrace says of itself: every metric is declared here, with advice to the operator."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

__all__ = [
    "ACTIVE_SERIES",
    "ACTIVE_TENANTS",
    "ALERTS_FIRING",
    "ALERTS_RECEIVED",
    "ALERT_EVENTS",
    "ALERT_GROUPS",
    "BATCH_SECONDS",
    "CLOCK_AHEAD",
    "COMPILE_SECONDS",
    "DEAD_LETTERS",
    "DESTINATION_LAG",
    "HELD_BACK",
    "INPUT_GAPS",
    "INPUT_LOST",
    "LAST_POLL",
    "LATE_POINTS",
    "LOG_BYTES",
    "LOG_LINES_LATE",
    "LOG_RECORDS",
    "LOG_SCRUBBED",
    "LOG_TEMPLATES",
    "MESSAGES",
    "MODELS_REFUSED",
    "MODELS_TAKEN",
    "NOTIFICATIONS",
    "NOTIFICATION_FAILURES",
    "NOTIFICATION_RETRIES",
    "NOTIFICATION_SECONDS",
    "OPEN_SERIES",
    "OPEN_SPANS",
    "PARTITIONS_BEHIND",
    "POINTS_DECODED",
    "POINTS_REFUSED",
    "POINTS_SKIPPED",
    "ROLLUPS_EMITTED",
    "RULE_FAILURES",
    "RULE_SERIES",
    "RULE_SERIES_REFUSED",
    "SCORES_MADE",
    "SERIES_LIMIT",
    "SERIES_REFUSED",
    "SERIES_TOLD_APART",
    "SINK_BLOCKED",
    "SINK_REFUSED_UNNAMED",
    "SINK_RETRIES",
    "SINK_ROWS",
    "SINK_SECONDS",
    "SNAPSHOT_SECONDS",
    "SOURCE_ERRORS",
    "SOURCE_LAG",
    "SPANS_DECODED",
    "SPANS_LEFT_OUT",
    "TENANTS_BEYOND",
    "TENANTS_REFUSED",
    "TRACES_CROWDED_OUT",
    "WATERMARK_LAG",
    "WINDOW_DELAY",
]

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

LOG_RECORDS = Counter("headrace_log_records", "Log records decoded, by topic.", ["topic"])
LOG_BYTES = Counter("headrace_log_bytes", "Bytes of log messages read, by topic.", ["topic"])
LOG_SCRUBBED = Counter(
    "headrace_log_scrubbed",
    "Personal data and secrets found in logs, by kind. A kind that jumps: a program began to log "
    "what it should not.",
    ["topic", "kind"],
)
LOG_LINES_LATE = Counter(
    "headrace_log_span_lines_late",
    "Lines of spans that came too late to be counted for likely causes (see operators/logs/courses/span_lines.py), or "
    "whose clock is ahead; they are stored as all others.",
)
LOG_TEMPLATES = Gauge(
    "headrace_log_shapes",
    "Shapes of lines that are compared, by shard. At the limit of a service new ones stand alone.",
    ["shard"],
)
SPANS_DECODED = Counter("headrace_spans_decoded", "Spans decoded, by topic.", ["topic"])
SPANS_LEFT_OUT = Counter(
    "headrace_spans_left_out",
    "Spans that are counted nowhere: duplicates (a producer sent them again), late (see "
    "traces.hold), future or of no sane time (a clock is wrong), invalid (without ids), crowded "
    "(failed, of a trace for which there was no memory).",
    ["reason"],
)
TRACES_CROWDED_OUT = Counter(
    "headrace_traces_crowded_out",
    "Traces left out before they were decided, since the tenant has more undecided spans than "
    "traces.sampling.memory allows. Raise it, or have fewer spans.",
    ["tenant"],
)
OPEN_SPANS = Gauge(
    "headrace_open_spans", "Spans that are held for partners or their trace, by shard.", ["shard"]
)
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
INPUT_LOST = Counter(
    "headrace_input_lost_messages",
    "Messages that were gone before they were read, or before they were read again for a window "
    "that is still open. Keep messages for longer, or keep up.",
    ["topic", "reason"],
)
INPUT_GAPS = Counter(
    "headrace_input_gaps",
    "Gaps in a partition, also those of which nobody can say how many messages are lost: a topic "
    "that was made anew, or a broker that lost messages. The alert InputLost tells of each.",
    ["topic", "reason"],
)
HELD_BACK = Gauge(
    "headrace_held_back_seconds",
    "How long windows have been waiting for this partition alone. Look at who writes there: its "
    "clock may be behind, or its points may be in another unit.",
    ["partition"],
)
LAST_POLL = Gauge(
    "headrace_last_poll_timestamp_seconds",
    "When a worker of the process last asked Kafka for messages, in Unix time. More than a minute "
    "ago: a sink blocks, or the process is stuck; ask /health.",
)
POINTS_DECODED = Counter("headrace_points_decoded", "Data points decoded.", ["topic"])
POINTS_SKIPPED = Counter(
    "headrace_points_skipped",
    "Data points that are not aggregated: times of another unit or of no sane year; staleness markers, NaN, infinities, malformed ones; "
    "duplicates; overlaps, of which a steady rate means that two writers share an identity; "
    "parts of classic histograms without a total; and refused ones of series over a limit.",
    ["reason"],
)
ACTIVE_SERIES = Gauge(
    "headrace_active_series",
    "Series that the tenant has now. Near headrace_series_limit: raise limits.tenants, or drop a "
    "label with enrichment.drop.",
    ["tenant"],
)
ACTIVE_TENANTS = Gauge(
    "headrace_active_tenants", "Tenants that are active. Near limits.active_tenants: raise it."
)
TENANTS_BEYOND = Counter(
    "headrace_tenants_beyond_limit",
    "Times that series of a tenant beyond limits.active_tenants were named and refused. The alert "
    "TenantsLimitReached has examples.",
)
SERIES_LIMIT = Gauge("headrace_series_limit", "The tenant's limit of active series.", ["tenant"])
SERIES_REFUSED = Counter(
    "headrace_series_refused",
    "Series beyond a limit that were refused, counted anew each time that a worker names one. The "
    "alert SeriesLimitReached says which label exploded. The metric is empty after the first "
    "hundred of a tenant.",
    ["tenant", "metric"],
)
SERIES_TOLD_APART = Counter(
    "headrace_series_told_apart",
    "Series with the name and labels of another one of another kind or unit. They are labelled "
    "metric_kind and metric_unit; the log names them. Look for two versions of an application.",
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
CLOCK_AHEAD = Counter(
    "headrace_clock_ahead_points",
    "Points ahead of the timestamp that Kafka has of their message, by more than rollups.disorder. "
    "They do not move event time. A clock is wrong: the alert WrongClock names a series.",
    ["topic", "partition"],
)
PARTITIONS_BEHIND = Gauge(
    "headrace_partitions_behind",
    "Partitions that are read to their end and further behind than rollups.partition_lag: windows "
    "do not wait for them. The log names them; look at the clocks of those who write there.",
)
LATE_POINTS = Counter(
    "headrace_late_points",
    "Points refused for their time: too late, and kept on the late topic; or further ahead of their "
    "message than rollups.future, and the message is a dead letter. Raise rollups.lateness, or look for a host with a "
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
COMPILE_SECONDS = Histogram(
    "headrace_compile_seconds",
    "Time a loop took to be compiled while the flow ran; messages wait meanwhile. "
    "`python -m flows.warm_up` does so beforehand.",
    buckets=(0.1, 1, 10, 60),
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
WINDOW_DELAY = Histogram(
    "headrace_window_delay_seconds",
    "Time between the end of a window and its rollups, by what takes it: reading (producers, "
    "brokers and this flow), the slowest of the partitions, the disorder that the settings allow, "
    "and steps in which points come. See `headrace status --latency`.",
    ["part"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600),
)
ROLLUPS_EMITTED = Counter("headrace_rollups", "Rollups emitted.", ["window", "revised"])
MODELS_TAKEN = Counter(
    "headrace_models_taken", "Promoted models that this process has read, and takes up."
)
MODELS_REFUSED = Counter(
    "headrace_models_refused",
    "Promotions without effect, since the message or the artefact can't be used. The model before "
    "stays in force; the log says why.",
    ["reason"],
)
SCORES_MADE = Counter("headrace_scores", "Rollups judged by a detector.", ["verdict"])
ALERT_EVENTS = Counter("headrace_alert_events", "Alert events made.", ["kind", "status"])
RULE_FAILURES = Counter(
    "headrace_rule_failures",
    "Evaluations of a rule that had no result, as Prometheus would have none. The log says why.",
    ["file", "group", "rule"],
)
RULE_SERIES = Gauge(
    "headrace_rule_series", "Series that rules look at, by shard and tenant.", ["shard", "tenant"]
)
RULE_SERIES_REFUSED = Counter(
    "headrace_rule_series_refused",
    "New series beyond rules.series, counted whenever samples of one come: rules do not see them. "
    "The log names one.",
    ["tenant"],
)
SINK_ROWS = Counter("headrace_sink_rows", "Rows that the sink's backend confirmed.", ["sink"])
SINK_SECONDS = Histogram(
    "headrace_sink_seconds", "Time of one confirmed write.", ["sink"], buckets=_FAST
)
SINK_REFUSED_UNNAMED = Counter(
    "headrace_sink_left_out",
    "Rows that a backend took the request of and left out without saying which, by sink. Its own log "
    "says why.",
    ["sink"],
)
SINK_RETRIES = Counter(
    "headrace_sink_retries", "Writes tried again. The flow waits meanwhile.", ["sink"]
)
SINK_BLOCKED = Gauge(
    "headrace_sink_blocked",
    "How many writers wait because the sink's backend can't be reached. Those of flow storage hold "
    "back nobody else; one of another flow holds back that flow.",
    ["sink"],
)
DESTINATION_LAG = Gauge(
    "headrace_destination_lag_messages",
    "Messages that the destination of flow storage has not confirmed yet. Growing: its backend is "
    "down (headrace_sink_blocked) or too slow. No other destination waits for it.",
    ["destination", "topic", "partition"],
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
