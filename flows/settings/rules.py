"""Settings of rules: files of Prometheus, thresholds, and how they are evaluated."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from flows.settings.values import Duration, PositiveDuration, Section
from operators.contracts.durations import format_duration

if TYPE_CHECKING:
    from operators.rules.files import FileGroup
    from operators.rules.loading import Agree, RuleFiles

__all__ = ["RuleSettings", "Threshold"]

_MS: Final = 1_000_000
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Threshold(Section):
    """An alert on a value that is beyond a bound for some time."""

    name: str = Field(min_length=1)
    expression: str = Field(min_length=1)
    """A metric, as ``node_load1{job="node"}``, or any other expression of PromQL."""
    operator: Literal[">", "<", ">=", "<=", "==", "!="] = ">"
    value: float
    duration: Duration = "0s"  # type: ignore[assignment]
    """For how long, until the alert fires."""
    severity: str = Field(default="warning", min_length=1)
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)

    def rule(self) -> dict[str, object]:
        """Return it as a rule of a rule file has it."""
        summary = f"{self.name}: {{{{ $value }}}} {self.operator} {self.value:g}"
        return {
            "alert": self.name,
            "expr": f"({self.expression}) {self.operator} {self.value!r}",
            "for": f"{self.duration // _MS}ms",
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {"summary": summary, **self.annotations},
        }


class RuleSettings(Section):
    """What the flow ``alerting`` evaluates; it has nothing to do without files and thresholds."""

    files: tuple[str, ...] = ()
    """Rule files of Prometheus, with ``*`` and ``?``. They are read again when one changes, and
    on SIGHUP."""
    thresholds: tuple[Threshold, ...] = ()
    interval: PositiveDuration = "1m"  # type: ignore[assignment]
    """Between two evaluations of groups that say none. They are at multiples of it."""
    query_offset: Duration = "0s"  # type: ignore[assignment]
    """How far back groups look that do not say it."""
    disorder: Duration = "5s"  # type: ignore[assignment]
    """How far a point may lag behind a later one of its partition, to be seen by the evaluation
    that it is for: what an alert is later for it. What lags more is seen from the next one on. Where
    one of several sources in a partition comes two minutes late, it takes ``2m``; where all do, or
    the late one has a partition of its own, it takes nothing."""
    partition_lag: PositiveDuration = "5m"  # type: ignore[assignment]
    """How far a partition that is read to its end may be behind others and be waited for: points
    that come late through one of them make evaluations late, and no gap."""
    lookback: PositiveDuration = "5m"  # type: ignore[assignment]
    """How old the last sample of a series may be, as Prometheus' ``query.lookback-delta``."""
    longest_range: PositiveDuration = "1d"  # type: ignore[assignment]
    """How far back a rule may look. Samples are kept in memory for that long, and read again from
    ``topics.samples`` after a restart, so that must keep them."""
    series: int = Field(default=2_000_000, ge=1)
    """How many series a tenant may have that the rules of a shard look at; new ones beyond it are
    refused, and counted."""
    keep_unknown: bool = False
    """Whether an alert goes on firing while all series that it came of are gone: without samples
    nobody can tell that it is over. ``/api/v1/alerts`` has ``unknownSince`` for it. In Prometheus, and
    without this, what is missing counts as resolved."""
    external_labels: dict[str, str] = Field(default_factory=dict)
    """Of all alerts, and ``$externalLabels`` in templates."""
    external_url: str = ""
    """Where people look at expressions, for ``generatorURL``."""
    promote_resource_attributes: tuple[str, ...] = ()
    """Attributes of OTLP's resources that become labels, as in Prometheus' settings of that name."""
    rollups: bool = True
    """Write recorded series, and ``ALERTS``, to the rollups topic as well."""
    shards: int = Field(default=4, ge=1, le=63)
    """Parts of the rules, which workers share; fixed for the life of a recovery store."""

    @property
    def active(self) -> bool:
        """Whether there are rules at all."""
        return bool(self.files or self.thresholds)

    @field_validator("external_labels")
    @classmethod
    def _are_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for name in labels:
            if not _NAME.fullmatch(name):
                raise ValueError(f'"{name}" is not the name of a label')
        return labels

    @field_validator("interval", "lookback", "longest_range")
    @classmethod
    def _is_of_milliseconds(cls, length: int) -> int:
        if length % _MS:
            raise ValueError(f"{format_duration(length)} is no whole number of milliseconds")
        return length

    @model_validator(mode="after")
    def _thresholds_can_be(self) -> Self:
        self.groups()
        return self

    def groups(self) -> list[FileGroup]:
        """Return the groups that stand in the settings themselves.

        Raises:
            ValueError: one of them is no expression; the text says which.
        """
        if not self.thresholds:
            return []
        from operators.rules.files import parse_group  # noqa: PLC0415 - it imports much

        rules = [threshold.rule() for threshold in self.thresholds]
        return [parse_group({"name": "thresholds", "rules": rules}, "rules.thresholds")]

    def loaded(self, agree: Agree | None = None) -> RuleFiles:
        """Return what reads the files.

        Args:
            agree: has all processes place groups on the same shards.

        Raises:
            RuleFileError: one can't be used; the text names file, group and rule.
        """
        from operators.rules.loading import RuleFiles  # noqa: PLC0415 - it imports much

        return RuleFiles(
            self.files,
            self.groups(),
            shards=self.shards,
            interval=self.interval // _MS,
            offset=self.query_offset // _MS,
            lookback=self.lookback // _MS,
            longest=self.longest_range // _MS,
            agree=agree,
        )
