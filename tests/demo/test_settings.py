"""The settings that the demo writes for its flows, and what of the user's they take over."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.settings import Settings, load_settings
from tests.demo.configuration import FINEST, write_configuration
from tests.demo.programs import environment


def read(monkeypatch: pytest.MonkeyPatch, config: Path) -> Settings:
    """As a flow of the demo reads them."""
    variables = environment(config)
    for name in list(variables):
        monkeypatch.setenv(name, variables[name])
    return load_settings()


def test_it_judges_the_finest_windows_and_keeps_a_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_configuration(tmp_path, bootstrap_servers="b:1", receiver="http://r:2")
    settings = read(monkeypatch, config)
    assert settings.judged == FINEST
    assert settings.sinks.lake is not None
    assert settings.sinks.lake.path == tmp_path / "lake"
    assert settings.inputs[0].topic == "otlp_metrics"
    assert settings.topics.alerts == "headrace.alerts"


def test_on_a_broker_that_others_use_every_name_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_configuration(
        tmp_path, bootstrap_servers="b:1", receiver="http://r:2", prefix="demo-1"
    )
    settings = read(monkeypatch, config)
    topics = settings.topics
    names = [
        topics.rollups,
        topics.anomalies,
        topics.alerts,
        topics.dead_letter,
        topics.late,
        topics.status,
        topics.spans,
        topics.logs,
        topics.templates,
        topics.log_counts,
        topics.exceptions,
    ]
    names += [*(entry.topic for entry in settings.inputs), settings.kafka.group]
    assert all(name.startswith("demo-1") for name in names)


def test_backends_in_the_environment_are_used_beside_the_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE__SINKS__INFLUXDB__URL", "http://influx:8086")
    monkeypatch.setenv("HEADRACE__SINKS__INFLUXDB__ORG", "ours")
    monkeypatch.setenv("HEADRACE__SINKS__INFLUXDB__TOKEN", "t")
    config = write_configuration(tmp_path, bootstrap_servers="b:1", receiver="http://r:2")
    settings = read(monkeypatch, config)
    assert settings.sinks.influxdb is not None
    assert settings.sinks.influxdb.url == "http://influx:8086"
    assert settings.sinks.lake is not None


def test_nothing_else_of_the_users_settings_gets_into_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "HEADRACE__ROLLUPS__WINDOWS",
        "HEADRACE__KAFKA__GROUP",
        "HEADRACE__MONITORING__PORT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_SDK_DISABLED",
        "BYTEWAX_WORKERS_PER_PROCESS",
    ):
        monkeypatch.setenv(name, "the user's")
    variables = environment(tmp_path / "headrace.yaml")
    assert "the user's" not in variables.values()
    assert variables["HEADRACE_CONFIG"] == str(tmp_path / "headrace.yaml")
