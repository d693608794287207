"""JSON as prometheus-kafka-adapter writes it: one object a sample, no key, whole seconds.

``{"value":"1000000005","timestamp":"2023-11-14T22:13:21Z","name":"http_requests_total","labels":{…}}``
"""

from __future__ import annotations

from datetime import UTC, datetime

from bench.load import SERIES_A_HOST, Load
from bench.messages.text import TextWriter

__all__ = ["JsonObjects"]

_TIME_DIGITS = len("1970-01-01T00:00:00Z")


class JsonObjects:
    """Counters are named ``…_total``, as Prometheus has it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        tails = []
        for number in range(load.series):
            host, metric, route = number // SERIES_A_HOST, number // 8 % 10, number % 8
            name = f"queue_length_{metric}" if metric % 2 else f"http_requests_{metric}_total"
            method = "GET" if route % 2 else "PUT"
            tails.append(
                f'","name":"{name}","labels":{{"__name__":"{name}","instance":"host-{host}:9100",'
                f'"job":"service-{host % 20}","method":"{method}","route":"/api/{route}"}}}}'
            )
        same = load.series
        self._text = TextWriter(
            load, ['{"value":"'] * same, ['","timestamp":"'] * same, tails, time_digits=_TIME_DIGITS
        )

    def write(self, second: int) -> list[bytes]:
        """Return an object for each series."""
        time = datetime.fromtimestamp(self._load.time(second), UTC)
        return self._text.write_at(second, f"{time:%Y-%m-%dT%H:%M:%SZ}")
