"""Detectors: one file each. To add one: write its file, and a line in this table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from models.base import Detector
from models.robust_ewma import RobustEwma

__all__ = ["DETECTORS"]

DETECTORS: Final[Mapping[str, type[Detector]]] = {"robust_ewma": RobustEwma}
"""Detector by name, as ``scoring.detector`` gives it."""
