"""Settings of the databases and files that flow ``storage`` carries topics to."""

from __future__ import annotations

import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from flows.settings.values import PositiveDuration, Section, WithSecretFiles, with_secret_files
from operators.contracts.durations import format_duration, parse_duration

__all__ = [
    "ClickHouseSection",
    "ClickHouseTables",
    "ElasticsearchSection",
    "InfluxDBSection",
    "JaegerLayout",
    "LakeSection",
    "OTLPSection",
    "Sinks",
]


class InfluxDBSection(WithSecretFiles):
    """InfluxDB, or what else takes its v2 write API."""

    secrets = ("token",)
    url: str = Field(pattern=r"^https?://")
    org: str = Field(min_length=1)
    bucket: str = "rollups_{window}"
    token: SecretStr
    """Empty for a server that asks for none."""
    retention: dict[str, PositiveDuration] = Field(default_factory=dict)
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


class JaegerLayout(Section):
    """Kept spans and the service graph in Jaeger's indices too, so that Jaeger shows them."""

    index_prefix: str = Field(default="", pattern=r"^[a-z0-9_.-]*$")
    """As in Jaeger's ``indices.index_prefix``."""

    @field_validator("index_prefix")
    @classmethod
    def _ends_as_jaeger_has_it(cls, prefix: str) -> str:
        return f"{prefix}-" if prefix and not prefix.endswith("-") else prefix


class ElasticsearchSection(WithSecretFiles):
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
    jaeger: JaegerLayout | None = None

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


_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A name that HTTP can have."""
_OF_OTLP = frozenset(
    {"content-type", "content-encoding", "content-length", "transfer-encoding", "te", "connection"}
)
"""What the transport says itself."""
_HOST_AND_PORT = r"https?://(\[[0-9A-Fa-f:.]+\]|[^/@?#:\[\]]+)(:[0-9]{1,5})?/?"


class OTLPSection(Section):
    """What takes OTLP, over HTTP or gRPC: kept spans go there."""

    protocol: Literal["http", "grpc"] = "http"
    """``grpc`` needs the extra ``otlp-grpc``."""
    endpoint: str = Field(pattern=r"^https?://")
    """Its address without ``/v1/traces``: ``http://jaeger:4318``; of gRPC ``http://jaeger:4317``, and
    ``https://`` where there is TLS."""
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    """Sent with each request, in gRPC as metadata; they are secrets, and ``<name>_file`` names a file."""
    tenant_header: str | None = None
    """A header that says whose spans a request has, as ``X-Scope-OrgID``."""
    ca_certs: Path | None = None
    client_certificate: Path | None = None
    """By which the backend knows us; a file in PEM, as ``client_key`` is."""
    client_key: Path | None = None
    timeout: PositiveDuration = "10s"  # type: ignore[assignment]
    batch_bytes: int = Field(default=2_000_000, ge=1)
    """Spans in one request, before compression; most receivers of gRPC take 4 MiB."""
    gzip: bool = True

    @field_validator("headers", mode="before")
    @classmethod
    def _read_secret_files(cls, headers: Any) -> Any:
        return with_secret_files(headers) if isinstance(headers, dict) else headers

    @field_validator("endpoint")
    @classmethod
    def _possible_port(cls, endpoint: str) -> str:
        try:
            port = urlsplit(endpoint).port
        except ValueError:
            port = 0
        if port == 0:
            raise ValueError("a port is a number from 1 to 65535")
        return endpoint

    @model_validator(mode="after")
    def _possible_headers(self) -> Self:
        """What can't be a header fails here: a client would repeat it in its error, secrets too."""
        names = [*self.headers, *([self.tenant_header] if self.tenant_header is not None else [])]
        for name in names:
            if not _HEADER.fullmatch(name):
                raise ValueError(f'headers: "{name}" can\'t be the name of a header')
            if name.lower() in _OF_OTLP:
                raise ValueError(f"headers: {name} is not yours to set: OTLP says what it is")
        for name, value in self.headers.items():
            text = value.get_secret_value()
            if not (text.isascii() and text.isprintable()):
                raise ValueError(f"headers.{name}: it takes printable ASCII only")
        for name, count in Counter(name.lower() for name in names).items():
            if count > 1:
                raise ValueError(f"headers: {name} is there twice; case makes no difference")
        return self

    @model_validator(mode="after")
    def _whole_certificate(self) -> Self:
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("give both client_certificate and client_key")
        return self

    @model_validator(mode="after")
    def _possible_over_grpc(self) -> Self:
        if self.protocol != "grpc":
            return self
        if find_spec("grpc") is None or find_spec("google.rpc") is None:
            raise ValueError("protocol grpc needs grpcio: pip install 'headrace[otlp-grpc]'")
        if not re.fullmatch(_HOST_AND_PORT, self.endpoint):
            raise ValueError(
                "endpoint: of gRPC it has a host and a port and nothing else, as http://jaeger:4317"
            )
        for name in (*self.headers, self.tenant_header or "x"):
            if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or name.lower().endswith("-bin"):
                raise ValueError(f"headers: \"{name}\" can't be a name of gRPC's metadata")
        return self


_LONGEST_TTL = 12_000 * 86_400_000_000_000
"""With which ClickHouse's seconds do not end, see ``sinks.clickhouse``."""
_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"


class ClickHouseTables(Section):
    """Names of the tables."""

    logs: str = Field(default="otel_logs", pattern=_NAME)
    spans: str = Field(default="otel_traces", pattern=_NAME)


class ClickHouseSection(WithSecretFiles):
    """ClickHouse: records of logs and kept spans, in the tables that the OpenTelemetry Collector makes.

    Needs the extra ``clickhouse``.
    """

    secrets = ("password",)
    url: str = Field(pattern=r"^https?://")
    """Of its HTTP interface: ``http://clickhouse:8123``."""
    database: str = Field(default="default", pattern=_NAME)
    """``headrace setup`` makes it where it is not there."""
    user: str = Field(default="default", min_length=1)
    password: SecretStr | None = None
    tables: ClickHouseTables = ClickHouseTables()
    ttl: PositiveDuration = "30d"  # type: ignore[assignment]
    """How long rows are kept by their own time; ``headrace setup`` changes that of tables that are there."""
    ca_certs: Path | None = None
    timeout: PositiveDuration = "30s"  # type: ignore[assignment]
    """For an answer. An insert that takes longer is sent again, and stays one."""
    batch_rows: int = Field(default=100_000, ge=1, le=1_000_000)
    """Rows in one insert; each is at least one part, which ClickHouse has to merge."""

    @field_validator("url")
    @classmethod
    def _without_credentials(cls, url: str) -> str:
        if "@" in url:
            raise ValueError("write it without user and password, which have keys of their own")
        return url

    @field_validator("ttl")
    @classmethod
    def _of_seconds(cls, ttl: int) -> int:
        if ttl % 1_000_000_000:
            raise ValueError("must be whole seconds")
        if ttl > _LONGEST_TTL:
            raise ValueError("must be at most 12000d")
        return ttl

    @model_validator(mode="after")
    def _has_a_client(self) -> Self:
        if find_spec("clickhouse_connect") is None:
            raise ValueError("needs clickhouse-connect: pip install 'headrace[clickhouse]'")
        return self


class LakeSection(Section):
    """Parquet files, by signal, window and day."""

    path: Path = Path("lake")
    compact_files: int = Field(default=32, ge=2)
    """Files of one finished day directory from which on they are merged into one."""


class Sinks(Section):
    """Where rollups and anomalies go besides Kafka. One that is left out is not used."""

    influxdb: InfluxDBSection | None = None
    elasticsearch: ElasticsearchSection | None = None
    clickhouse: ClickHouseSection | None = None
    lake: LakeSection | None = None
    otlp: OTLPSection | None = None

    @model_validator(mode="after")
    def _lake_is_the_default(self) -> Self:
        if self.influxdb is None and self.elasticsearch is None and self.lake is None:
            object.__setattr__(self, "lake", LakeSection())
        return self
