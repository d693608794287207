"""A detector by the name that the settings give: one of ours, of River's, or of another package."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from models.base import Detector
from models.peak_rank import PeakRank
from models.robust_ewma import RobustEwma
from models.seasonal_baseline import SeasonalBaseline

__all__ = ["DEFAULT", "DETECTORS", "GROUP", "MINUTE", "BadDetector", "new_detector"]

DETECTORS: Final[Mapping[str, type[Detector]]] = {
    "peak_rank": PeakRank,
    "robust_ewma": RobustEwma,
    "seasonal_baseline": SeasonalBaseline,
}
"""Ours, by name."""
DEFAULT: Final = "peak_rank"
_RIVER: Final = "river."
MINUTE: Final = 60 * 10**9
_MONTH: Final = 30 * 24 * 60 * MINUTE
GROUP: Final = "headrace.detectors"
"""Entry points of this group, in whatever package, are detectors: the name, and a ``Detector``."""


class BadDetector(ValueError):
    """No detector has this name, or it takes no such options; the text says which there are."""


def new_detector(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    alerts: float = 1.0,
    window: int = MINUTE,
    features: tuple[str, ...] = (),
) -> Detector:
    """Return a fresh detector.

    Args:
        name: in ``DETECTORS``, of an entry point, or of a class of River's or several with ``|``.
        options: its arguments.
        alerts: false alerts of a series in thirty days; for those that take it.
        window: time between two values of a series, in nanoseconds; for those that take how many
            come in thirty days.
        features: for models of River's; their usual ones if empty.

    Raises:
        BadDetector: nothing has this name, or it takes no such options.
    """
    given = dict(options or {})
    if name.startswith(_RIVER):
        return _of_river(name, given, alerts, _MONTH / window, features)
    kind = DETECTORS.get(name) or _foreign(name)
    takes = inspect.signature(kind).parameters
    if "alerts" in takes:
        given.setdefault("alerts", alerts)
    if "a_month" in takes:
        given.setdefault("a_month", _MONTH / window)
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        fault = str(error).partition(" ")[2] or str(error)
        raise BadDetector(f"options: {name} {fault} (it takes: {', '.join(takes)})") from None


def _of_river(
    name: str, options: Mapping[str, Any], alerts: float, a_month: float, features: tuple[str, ...]
) -> Detector:
    # Its library takes seconds to import: who has not asked for it does not wait for it.
    from models.features import UnknownFeature  # noqa: PLC0415
    from models.river_model import BadModel, RiverModel  # noqa: PLC0415

    chosen = {"features": features} if features else {}
    try:
        return RiverModel(name, options, alerts=alerts, a_month=a_month, **chosen)
    except (BadModel, UnknownFeature) as error:
        raise BadDetector(str(error)) from None


def _foreign(name: str) -> type[Detector]:
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        known = ", ".join([*DETECTORS, *sorted(found)])
        raise BadDetector(
            f'there is no detector "{name}" (there are: {known}, and those of River by their names, '
            "as river.anomaly.HalfSpaceTrees)"
        )
    try:
        kind = found[name].load()
    except (ImportError, AttributeError) as error:
        raise BadDetector(f'the detector "{name}" can\'t be loaded: {error}') from None
    if not (isinstance(kind, type) and issubclass(kind, Detector)):
        raise BadDetector(f'"{name}" of {found[name].value} is no models.base.Detector')
    return kind
