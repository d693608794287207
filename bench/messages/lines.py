"""Influx line protocol as Telegraf's Kafka output writes it: one metric a message, tags in order.

``http,host=host-1,method=GET,route=/api/3,service=service-1 bytes_4=1000000005i 1700000001000000000``
"""

from __future__ import annotations

from bench.load import SERIES_A_HOST, Load
from bench.messages.text import TextWriter

__all__ = ["Lines"]

_TIME_DIGITS = 19


class Lines:
    """Gauges are ``cpu usage_…`` with floats, counters ``http bytes_…`` with integers."""

    def __init__(self, load: Load) -> None:
        self._load = load
        heads, middles = [], []
        for number in range(load.series):
            host, metric, route = number // SERIES_A_HOST, number // 8 % 10, number % 8
            if metric % 2:
                tags = f"cpu=cpu{route},host=host-{host},service=service-{host % 20}"
                heads.append(f"cpu,{tags} usage_{metric}=")
                middles.append(" ")
            else:
                method = "GET" if route % 2 else "PUT"
                tags = f"host=host-{host},method={method},route=/api/{route}"
                heads.append(f"http,{tags},service=service-{host % 20} bytes_{metric}=")
                middles.append("i ")
        self._text = TextWriter(
            load, heads, middles, ["\n"] * load.series, time_digits=_TIME_DIGITS
        )

    def write(self, second: int) -> list[bytes]:
        """Return a line for each series."""
        return self._text.write_at(second, str(self._load.time(second) * 10**9))
