"""What InfluxDB needs before rollups can be written: a bucket a window, with its retention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import HTTPError

from operators.contracts.durations import format_duration
from sinks.influxdb import InfluxDBSettings, bucket_name, connect, unavailable

__all__ = ["check", "ensure"]

_FAULTS: Final = (ApiException, HTTPError, OSError)
_SECOND: Final = 1_000_000_000


def ensure(settings: InfluxDBSettings, windows: Sequence[int]) -> list[str]:
    """Create the bucket of each window (nanoseconds), and set the retention of those there are.

    Returns:
        What was done, a line each; empty if all was as it should be.

    Raises:
        sinks.base.Unavailable: the server can't be reached, or does not let us.
    """
    with connect(settings) as client:
        done = [_ensure_bucket(client, settings, window) for window in windows]
    return [line for line in done if line]


def check(settings: InfluxDBSettings, windows: Sequence[int]) -> None:
    """Make sure that rollups can be written, by writing nothing to each bucket.

    Raises:
        sinks.base.Unavailable: they can't; the message says in one line why, and what to do.
    """
    with connect(settings) as client:
        service = WriteService(client.api_client)
        for window in windows:
            bucket = bucket_name(settings, window)
            try:
                service.post_write(settings.org, bucket, b"", precision="ns")
            except _FAULTS as error:
                # Some versions want at least one point, but only once all else is in order.
                if not (isinstance(error, ApiException) and error.status == 400):
                    raise unavailable(settings, error, bucket) from None


def _ensure_bucket(client: InfluxDBClient, settings: InfluxDBSettings, window: int) -> str:
    """Return what had to be done, in words."""
    name = bucket_name(settings, window)
    seconds = settings.retention.get(format_duration(window), 0) // _SECOND
    kept = f"kept {format_duration(seconds * _SECOND)}" if seconds else "kept for ever"
    rules = [BucketRetentionRules(type="expire", every_seconds=seconds)]
    api = client.buckets_api()
    try:
        bucket = api.find_bucket_by_name(name)
        if bucket is None:
            api.create_bucket(bucket_name=name, org=settings.org, retention_rules=rules)
            return f"influxdb: created bucket {name}, {kept}"
        if sum(rule.every_seconds for rule in bucket.retention_rules) != seconds:
            bucket.retention_rules = rules
            api.update_bucket(bucket)
            return f"influxdb: bucket {name} is now {kept}"
    except _FAULTS as error:
        raise unavailable(settings, error, name) from None
    return ""
