"""The settings: one YAML file, every key overridable by environment, parsed strictly.

The file is ``$HEADRACE_CONFIG`` (default ``headrace.yaml``); ``HEADRACE__KAFKA__BOOTSTRAP_SERVERS``
overrides ``kafka.bootstrap_servers``. A value that is a mapping or a list is given as JSON.
A secret may be left out of both and read from a file: ``token_file`` instead of ``token``.
"""

from __future__ import annotations

import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from operators.durations import format_duration, parse_duration
from operators.frames import DEFAULT_TENANT

__all__ = ["Settings", "SettingsError", "load_settings"]

CONFIG_VARIABLE = "HEADRACE_CONFIG"
DEFAULT_CONFIG = "headrace.yaml"
PREFIX = "HEADRACE__"


class SettingsError(Exception):
    """The settings cannot be used; the message names the file, the key and what to write."""


def _duration(value: Any) -> int:
    """Read a duration; whole numbers are taken to be nanoseconds already parsed."""
    if isinstance(value, str):
        return parse_duration(value)
    raise ValueError(f'"{value}" is not a duration (write 10s, 5m, 1h)')


Duration = Annotated[
    int, BeforeValidator(_duration), PlainSerializer(format_duration, return_type=str)
]
"""Nanoseconds, written as ``10s``, ``5m``, ``1h``."""


def _positive(value: int) -> int:
    if value <= 0:
        raise ValueError("must be longer than nothing (write 10s, 5m, 1h)")
    return value


PositiveDuration = Annotated[Duration, AfterValidator(_positive)]


class Section(BaseModel):
    """A part of the settings; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class WithSecretFiles(Section):
    """A section whose secrets may be given as ``<key>_file``, the path of a file that holds them."""

    secrets: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        for key in cls.secrets:
            path = values.pop(f"{key}_file", None)
            if path is None:
                continue
            try:
                values[key] = Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ValueError(f"{key}_file: cannot read {path}: {error.strerror}") from None
        return values


class Kafka(Section):
    """Where the broker is, and how it is read."""

    bootstrap_servers: str = "localhost:9092"
    options: dict[str, str | int | float | bool] = {}
    group: str = "headrace"
    readers: int = Field(default=4, ge=1, le=1024)
    """Readers of input partitions; fixed, as shards are. At most this many workers read."""
    poll_messages: int = Field(default=50_000, ge=1)
    poll_bytes: int = Field(default=8 << 20, ge=1)
    poll_time: PositiveDuration = "100ms"  # type: ignore[assignment]


Encoding = Literal["otlp_proto", "otlp_json"]


class Input(Section):
    """A topic to read, and what is on it."""

    topic: str = Field(min_length=1)
    signal: Literal["metrics"] = "metrics"
    encoding: Encoding = "otlp_proto"
    tenant: str = DEFAULT_TENANT


class Series(Section):
    """What identifies a series beside its name and attributes."""

    resource_attributes: tuple[str, ...] = (
        "service.name",
        "service.namespace",
        "host.name",
        "deployment.environment.name",
    )


class Lookup(Section):
    """A table (CSV or Parquet) whose columns become labels where ``on`` matches."""

    path: Path
    on: str
    labels: tuple[str, ...] = ()
    """Columns to take; all but ``on`` if empty."""


class Enrichment(Section):
    """Changes to the labels of every series, in this order: lookup, static, drop, rename."""

    lookups: tuple[Lookup, ...] = ()
    static: dict[str, str] = {}
    drop: tuple[str, ...] = ()
    rename: dict[str, str] = {}


class Rollups(Section):
    """Windows and their times."""

    windows: tuple[PositiveDuration, ...] = ("10s", "1m")  # type: ignore[assignment]
    disorder: Duration = "2s"  # type: ignore[assignment]
    lateness: Duration = "1m"  # type: ignore[assignment]
    idle_timeout: PositiveDuration = "30s"  # type: ignore[assignment]
    future: PositiveDuration = "10m"  # type: ignore[assignment]
    """How far a timestamp may be ahead of this machine's clock."""
    evict_after: PositiveDuration = "1h"  # type: ignore[assignment]
    """Event time without a point after which a series is forgotten."""
    counter_horizon: Duration = "5m"  # type: ignore[assignment]
    """A counter seen for the first time counts from zero if it started at most this long ago."""
    shards: int = Field(default=16, ge=1, le=4096)

    @field_validator("windows", mode="after")
    @classmethod
    def _nested(cls, windows: tuple[int, ...]) -> tuple[int, ...]:
        if not windows:
            raise ValueError("at least one window is needed")
        for finer, coarser in pairwise(windows):
            if coarser <= finer or coarser % finer:
                raise ValueError(
                    f"{format_duration(coarser)} is not a multiple of {format_duration(finer)}, "
                    "the window before it: write them from fine to coarse"
                )
        return windows


class Scoring(Section):
    """Which rollups are judged, and when a judgement becomes an alert."""

    enabled: bool = True
    window: PositiveDuration | None = None
    """The resolution that is judged; the finest if left out."""
    metrics: str = ".*"
    """Regular expression that the whole metric name must match."""
    detector: str = "robust_ewma"
    options: dict[str, float] = {}
    warm_up: int = Field(default=20, ge=2)
    """Rollups of a series that are learned before any is judged."""
    fire_after: int = Field(default=2, ge=1)
    """Anomalous rollups in a row before an alert fires."""
    resolve_after: int = Field(default=3, ge=1)
    """Normal rollups in a row before it resolves."""
    stale_after: PositiveDuration = "5m"  # type: ignore[assignment]
    """Event time without a rollup after which a firing alert resolves."""
    evict_after: PositiveDuration = "1h"  # type: ignore[assignment]
    """Event time without a rollup after which a series' detector is forgotten."""
    severity: str = "warning"


class InfluxDB(WithSecretFiles):
    """InfluxDB, or what else takes its v2 write API."""

    secrets = ("token",)
    url: str = Field(pattern=r"^https?://")
    org: str = Field(min_length=1)
    bucket: str = "rollups_{window}"
    token: SecretStr
    """Empty for a server that asks for none."""
    retention: dict[str, PositiveDuration] = {}
    """By window, as ``{10s: 7d}``; used by ``headrace setup``. Without one, for ever."""
    ca_certs: Path | None = None
    timeout: PositiveDuration = "10s"  # type: ignore[assignment]
    batch_lines: int = Field(default=5_000, ge=1)
    """Points in one request."""
    requests: int = Field(default=2, ge=1, le=16)
    """Requests under way at the same time, on each worker."""
    gzip: bool = True

    @field_validator("retention")
    @classmethod
    def _by_window(cls, retention: dict[str, int]) -> dict[str, int]:
        return {format_duration(parse_duration(window)): kept for window, kept in retention.items()}

    @field_validator("bucket")
    @classmethod
    def _has_window(cls, bucket: str) -> str:
        if "{window}" not in bucket:
            raise ValueError('must contain "{window}": each resolution has its own bucket')
        return bucket


class Elasticsearch(WithSecretFiles):
    """Elasticsearch 8 or 9."""

    secrets = ("api_key", "password")
    hosts: tuple[str, ...] = Field(min_length=1)
    namespace: str = Field(default="default", pattern=r"^[a-z0-9_.]{1,100}$")
    api_key: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    ca_certs: Path | None = None
    retention: PositiveDuration = "30d"  # type: ignore[assignment]
    timeout: PositiveDuration = "10s"  # type: ignore[assignment]
    batch_bytes: int = Field(default=5_000_000, ge=1)
    """Documents in one request."""
    gzip: bool = False
    """Worth its time only where the network is slow."""

    @field_validator("hosts")
    @classmethod
    def _complete(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not re.fullmatch(r"https?://[^/]+:\d+(/.*)?", host):
                place = host.rpartition("@")[2]
                raise ValueError(f'"{place}": write it whole, as https://elastic.example:9200')
        return hosts

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> Self:
        if self.api_key is not None and self.username is not None:
            raise ValueError("give either api_key or username and password")
        return self


class Lake(Section):
    """Parquet files, by signal, window and day."""

    path: Path = Path("lake")
    compact_files: int = Field(default=32, ge=2)
    """Files of one finished day directory from which on they are merged into one."""


class Sinks(Section):
    """Where rollups and anomalies go besides Kafka. One that is left out is not used."""

    influxdb: InfluxDB | None = None
    elasticsearch: Elasticsearch | None = None
    lake: Lake | None = None

    @model_validator(mode="after")
    def _lake_is_the_default(self) -> Self:
        if self.influxdb is None and self.elasticsearch is None and self.lake is None:
            object.__setattr__(self, "lake", Lake())
        return self


class Run(Section):
    """Where a flow begins and ends."""

    until: Literal["forever", "end"] = "forever"
    since: Literal["committed", "earliest", "latest"] = "committed"


class Topics(Section):
    """Names of the topics that Headrace writes."""

    rollups: str = "headrace.rollups"
    alerts: str = "headrace.alerts"
    dead_letter: str = "headrace.dead-letter"
    late: str = "headrace.late"
    status: str = "headrace.status"
    partitions: int = Field(default=4, ge=1)
    replication_factor: int = Field(default=-1, ge=-1)
    """Used by ``headrace setup``; -1 takes the broker's default."""


def _http_address(url: SecretStr) -> SecretStr:
    """Refuse what is no address, without repeating it: addresses of webhooks are secrets."""
    if not url.get_secret_value().startswith(("http://", "https://")):
        raise ValueError("must be an address that begins with http:// or https://")
    return url


SecretUrl = Annotated[SecretStr, AfterValidator(_http_address)]


class Webhook(WithSecretFiles):
    """A receiver of Alertmanager's webhook body, version 4."""

    type: Literal["webhook"]
    secrets = ("url", "bearer_token")
    url: SecretUrl
    bearer_token: SecretStr | None = None
    max_alerts: int = Field(default=0, ge=0)
    """At most so many alerts a message; 0 is all."""
    send_resolved: bool = True
    timeout: PositiveDuration = "10s"  # type: ignore[assignment]


class Slack(WithSecretFiles):
    """A Slack incoming webhook, or what speaks its format."""

    type: Literal["slack"]
    secrets = ("url",)
    url: SecretUrl
    channel: str | None = None
    username: str = "Headrace"
    send_resolved: bool = True
    timeout: PositiveDuration = "10s"  # type: ignore[assignment]


class Console(Section):
    """Lines on standard output."""

    type: Literal["console"]
    send_resolved: bool = True


Channel = Annotated[Webhook | Slack | Console, Field(discriminator="type")]


class Receiver(Section):
    """A name, and the channels that it stands for."""

    name: str = Field(min_length=1)
    channels: tuple[Channel, ...] = Field(min_length=1)


class Route(Section):
    """How alerts become notifications. Times mean what they mean to Alertmanager."""

    receiver: str = "console"
    group_by: tuple[str, ...] = ("alertname", "service.name")
    """Labels whose values tell groups apart; ``...`` makes each alert a group of its own."""
    group_wait: Duration = "30s"  # type: ignore[assignment]
    group_interval: PositiveDuration = "5m"  # type: ignore[assignment]
    repeat_interval: PositiveDuration = "4h"  # type: ignore[assignment]

    @field_validator("group_by")
    @classmethod
    def _all_or_some(cls, group_by: tuple[str, ...]) -> tuple[str, ...]:
        if "..." in group_by and len(group_by) > 1:
            raise ValueError('"..." stands for all labels: write no others beside it')
        return group_by


class Notifier(Section):
    """The notifier flow."""

    external_url: str = "http://localhost:8474"
    route: Route = Route()
    receivers: tuple[Receiver, ...] = (
        Receiver(name="console", channels=(Console(type="console"),)),
    )

    @model_validator(mode="after")
    def _route_has_a_receiver(self) -> Self:
        names = [receiver.name for receiver in self.receivers]
        if len(set(names)) != len(names):
            raise ValueError("receivers: two have the same name")
        if self.route.receiver not in names:
            raise ValueError(
                f'route.receiver: there is no receiver "{self.route.receiver}" '
                f"(there are: {', '.join(names)})"
            )
        return self


class Monitoring(Section):
    """Where each process answers ``/metrics`` and ``/health``."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    """0 takes a free one; ``headrace status`` shows which."""
    status_interval: PositiveDuration = "5s"  # type: ignore[assignment]
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(BaseSettings):
    """All settings, as the file and the environment give them."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        validate_default=True,
    )

    kafka: Kafka = Kafka()
    inputs: tuple[Input, ...] = (Input(topic="otlp_metrics"),)
    series: Series = Series()
    enrichment: Enrichment = Enrichment()
    rollups: Rollups = Rollups()
    scoring: Scoring = Scoring()
    sinks: Sinks = Sinks()
    run: Run = Run()
    topics: Topics = Topics()
    notifier: Notifier = Notifier()
    monitoring: Monitoring = Monitoring()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.scoring.window is not None and self.scoring.window not in self.rollups.windows:
            raise ValueError(
                f"scoring.window: {format_duration(self.scoring.window)} is not in rollups.windows"
            )
        topics = [entry.topic for entry in self.inputs]
        if len(set(topics)) != len(topics):
            raise ValueError("inputs: two have the same topic")
        return self

    @property
    def judged(self) -> int:
        """Length in nanoseconds of the windows whose rollups are scored."""
        return self.scoring.window or self.rollups.windows[0]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, which comes in as the initial values."""
        return env_settings, init_settings


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        path: the file; without it ``$HEADRACE_CONFIG``, else ``headrace.yaml`` if there is one.

    Raises:
        SettingsError: a file that cannot be read, an unknown key, a value that does not fit.
    """
    named = path or (Path(os.environ[CONFIG_VARIABLE]) if CONFIG_VARIABLE in os.environ else None)
    file = named or Path(DEFAULT_CONFIG)
    values: Any = {}
    if named is not None or file.exists():
        try:
            values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except OSError as error:
            raise SettingsError(
                f"{file}: cannot be read: {error.strerror} (set {CONFIG_VARIABLE} to its path)"
            ) from None
        except yaml.YAMLError as error:
            raise SettingsError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(values, dict):
            raise SettingsError(f"{file}: must be a mapping of sections, as kafka: {{…}}")
    _refuse_unknown_variables()
    try:
        return Settings(**{str(key): value for key, value in values.items()})
    except ValidationError as error:
        raise SettingsError(_first_line(error, str(file))) from None


def _refuse_unknown_variables() -> None:
    """A misspelt section in a variable's name would otherwise be ignored without a word."""
    for variable in os.environ:
        if variable.startswith(PREFIX):
            section = variable.removeprefix(PREFIX).split("__")[0].lower()
            if section not in Settings.model_fields:
                raise SettingsError(
                    f'{variable}: there is no section "{section}" '
                    f"(there are: {', '.join(Settings.model_fields)})"
                )


def _first_line(error: ValidationError, file: str) -> str:
    """Say the first fault in one line: where, which key, what is wrong."""
    fault = error.errors(include_url=False, include_input=False)[0]
    key = ""
    for part in fault["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f"{'.' if key else ''}{part}"
    path = [str(part).upper() for part in fault["loc"]]
    variables = [PREFIX + "__".join(path[:depth]) for depth in range(len(path), 0, -1)]
    place = next((name for name in variables if name in os.environ), file)
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "unknown key"
    elif fault["type"] == "missing":
        message = f"missing (write it there, or set {variables[0]})" if variables else "missing"
    return f"{place}: {key}: {message}" if key else f"{place}: {message}"
