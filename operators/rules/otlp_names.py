"""Names and labels of OTLP's metrics as Prometheus 3 translates them, escaped and with suffixes.

The rules are those of Prometheus' ``otlptranslator``, with its default strategy
``UnderscoreEscapingWithSuffixes``: ``http.server.duration`` in ``s`` is
``http_server_duration_seconds``, a counter ends in ``_total``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import numpy as np

__all__ = ["TARGET_INFO", "label_name", "labels_of", "metric_name", "number_text", "target_labels"]

TARGET_INFO: Final = "target_info"
"""The name of the series that has what a resource says of itself as labels."""
_IDENTIFYING: Final = frozenset({"service.name", "service.namespace", "service.instance.id"})
_UNITS: Final = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds",
    "us": "microseconds", "ns": "nanoseconds",
    "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams",
    "Cel": "celsius", "Hz": "hertz", "1": "", "%": "percent",
}  # fmt: skip
_PER: Final = {
    "s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year",
}  # fmt: skip
_NO_TOKEN: Final = re.compile(r"[^a-zA-Z0-9:]+")
_NO_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]")


def metric_name(name: str, unit: str, *, counts: bool = False, gauge: bool = False) -> str:
    """Return the name of a metric; an empty text if nothing of it is left.

    Args:
        name: as its producer names it.
        unit: in UCUM, as OTLP has it.
        counts: it is a sum that only rises, so its name ends in ``_total``.
        gauge: it is a gauge; one without a unit (``1``) ends in ``_ratio``.
    """
    tokens = [token for token in _NO_TOKEN.split(name) if token]
    main, per = _suffixes(unit)
    if main in tokens:
        main = ""
    per = "" if per == "per_" else per.removesuffix("_")
    if per in tokens:
        per = ""
    if per:
        main = main.removesuffix("_")
    tokens += [suffix for suffix in (main, per) if suffix]
    for suffix, wanted in (("total", counts), ("ratio", gauge and unit == "1")):
        if wanted:
            tokens = [*(token for token in tokens if token != suffix), suffix]
    made = "_".join(tokens)
    return f"_{made}" if made[:1].isdigit() else made


def _suffixes(unit: str) -> tuple[str, str]:
    """Return the suffixes of a unit, and of what it is divided by."""
    main, slash, per = unit.partition("/")
    main, per = main.strip(), per.strip()
    main = "" if "{" in main or "}" in main else _UNITS.get(main, main)
    per = "" if "{" in per or "}" in per else _PER.get(per, per)
    return _clean(main), _clean(f"per_{per}") if slash and per else ""


def _clean(unit: str) -> str:
    return _NO_TOKEN.sub("_", unit).removeprefix("_")


def label_name(name: str) -> str:
    """Return the name of a label; an empty text if there is none.

    >>> label_name("http.method"), label_name("1st"), label_name("_x")
    ('http_method', 'key_1st', 'key_x')
    """
    made = _NO_LABEL.sub("_", name)
    if not made.strip("_"):
        return ""
    if made[:1].isdigit():
        return f"key_{made}"
    return f"key{made}" if made.startswith("_") and not made.startswith("__") else made


def labels_of(
    attributes: Iterable[tuple[str, str]],
    resource: Mapping[str, str],
    promoted: Collection[str] = (),
) -> dict[str, str]:
    """Return the labels of a point, its name aside.

    Attributes that become one label are joined by ``;`` in the order of their names. ``job`` and
    ``instance`` come from what the resource says of its service, and win.

    Args:
        attributes: of the point.
        resource: the attributes of its resource.
        promoted: names of attributes of the resource that become labels where the point has none.
    """
    made = _joined(pair for pair in attributes if pair[0] != "__name__")
    for name, value in _joined((k, v) for k, v in resource.items() if k in promoted).items():
        made.setdefault(name, value)
    service = resource.get("service.name")
    if service is not None:
        namespace = resource.get("service.namespace")
        made["job"] = service if namespace is None else f"{namespace}/{service}"
    if "service.instance.id" in resource:
        made["instance"] = resource["service.instance.id"]
    return {name: value for name, value in made.items() if value}


def target_labels(resource: Mapping[str, str]) -> dict[str, str] | None:
    """Return the labels of ``target_info`` of a resource, its name aside.

    None if it says no more of itself than ``job`` and ``instance`` do, or neither of them.
    """
    told = {name: value for name, value in resource.items() if name not in _IDENTIFYING}
    made = labels_of(told.items(), resource)
    if not told or not made.keys() & {"job", "instance"}:
        return None
    return made


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    made: dict[str, str] = {}
    for key, value in sorted(pairs):
        name = label_name(key)
        if name:
            made[name] = f"{made[name]};{value}" if made.get(name) else value
    return made


def number_text(value: float) -> str:
    """Return a bound or a quantile as Prometheus writes it, without an exponent.

    >>> number_text(0.005), number_text(10.0), number_text(float("inf"))
    ('0.005', '10', '+Inf')
    """
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(np.format_float_positional(value, trim="-"))
