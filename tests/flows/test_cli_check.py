"""`headrace check` says of each thing whether it is there and lets us in, and if not, what to do."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation
from pytest_httpserver import HTTPServer

from tests.backends.influxdb import InfluxdbAccess
from tests.conftest import running
from tests.flows.command_line import CommandLine, lines
from tests.flows.secured_kafka import PASSWORD, SecuredKafka

SECRET = "T0P5ECRET/B01234567/xyzzyxyzzyxyzzyxyzzy"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    with running(SecuredKafka(tmp_path_factory.mktemp("secured"))) as server:
        yield server


def test_all_is_well_after_setup(
    tmp_path: Path, kafka: str, influxdb: InfluxdbAccess, elasticsearch: str
) -> None:
    headrace = CommandLine(tmp_path, kafka)
    headrace.settings["sinks"] |= {
        "influxdb": {
            "url": influxdb.url, "org": influxdb.org, "token": influxdb.token,
            "bucket": f"{headrace.name}_{{window}}",
        },
        "elasticsearch": {"hosts": [elasticsearch], "namespace": headrace.name},
    }  # fmt: skip
    assert headrace("setup").returncode == 0
    done = headrace("check")
    names = ", ".join([f"{headrace.name}-input", *headrace.topics.values()])
    assert lines(done.stdout) == [
        f"ok             settings: {tmp_path}/headrace.yaml",
        f"ok             kafka: {kafka}, 1 broker",
        f"ok             topics: {names}",
        f"ok             influxdb: {influxdb.url}, org {influxdb.org}",
        f"ok             elasticsearch: {elasticsearch}",
        f"ok             lake: {tmp_path}/lake",
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_what_setup_would_make_is_missing_before_it(
    tmp_path: Path, kafka: str, influxdb: InfluxdbAccess, elasticsearch: str
) -> None:
    headrace = CommandLine(tmp_path, kafka)
    namespace = uuid.uuid4().hex[:10]
    headrace.settings["sinks"] = {
        "influxdb": {
            "url": influxdb.url, "org": influxdb.org, "token": influxdb.token,
            "bucket": f"{headrace.name}_{{window}}",
        },
        "elasticsearch": {"hosts": [elasticsearch], "namespace": namespace},
    }  # fmt: skip
    done = headrace("check")
    said = {line.split()[1]: line for line in lines(done.stdout)}
    assert said["kafka:"].startswith("ok")
    assert said["topics:"].startswith(f"failed         topics: missing: {headrace.name}-input, ")
    for thing in ("topics:", "influxdb:", "elasticsearch:"):
        assert said[thing].startswith("failed"), thing
        assert "run `headrace setup`" in said[thing]
    assert (done.returncode, done.stderr) == (1, "headrace: 3 of 5 checks failed\n")


def test_a_wrong_token_is_named_and_not_shown(
    tmp_path: Path, kafka: str, influxdb: InfluxdbAccess
) -> None:
    headrace = CommandLine(tmp_path, kafka)
    sink = {"url": influxdb.url, "org": influxdb.org, "token": "not-the-token"}
    headrace.settings["sinks"] = {"influxdb": sink}
    done = headrace("check")
    (line,) = (line for line in lines(done.stdout) if "influxdb:" in line)
    assert "401" in line
    assert "set sinks.influxdb.token" in line
    assert "not-the-token" not in done.stdout + done.stderr
    assert done.returncode == 1


def test_everything_down_is_told_in_bounded_time_and_one_line_each(tmp_path: Path) -> None:
    nowhere = "127.0.0.1:9"
    headrace = CommandLine(tmp_path, nowhere)
    headrace.settings["sinks"] = {
        "influxdb": {"url": f"http://{nowhere}", "org": "o", "token": SECRET},
        "elasticsearch": {"hosts": [f"http://{nowhere}"], "api_key": SECRET},
        "lake": {"path": "/proc/lake"},
    }
    hook = {"type": "slack", "url": f"http://{nowhere}/{SECRET}"}
    headrace.settings["notifier"] = {
        "receivers": [{"name": "console", "channels": [{"type": "console"}, hook]}]
    }
    began = time.monotonic()
    done = headrace("check")
    assert time.monotonic() - began < 40
    said = lines(done.stdout)
    assert [line.split()[:2] for line in said] == [
        ["ok", "settings:"],
        ["failed", "kafka:"],
        ["failed", "topics:"],
        ["failed", "influxdb:"],
        ["failed", "elasticsearch:"],
        ["failed", "lake:"],
        ["failed", "console/slack[1]:"],
    ]
    assert said[6] == "failed         console/slack[1]: 127.0.0.1:9: Connection refused"
    assert SECRET not in done.stdout + done.stderr
    assert "xyzzy" not in done.stdout + done.stderr


def test_settings_only_asks_no_server(tmp_path: Path) -> None:
    headrace = CommandLine(tmp_path, "127.0.0.1:9")
    done = headrace("check", "--settings-only")
    assert (done.returncode, lines(done.stdout)) == (
        0,
        [f"ok             settings: {tmp_path}/headrace.yaml"],
    )


def test_a_lookup_table_is_part_of_the_settings(tmp_path: Path) -> None:
    headrace = CommandLine(tmp_path, "127.0.0.1:9")
    table = tmp_path / "hosts.csv"
    headrace.settings["enrichment"] = {"lookups": [{"path": str(table), "on": "host"}]}
    done = headrace("check", "--settings-only")
    assert done.returncode == 1
    assert f"failed         enrichment.lookups: cannot read {table}" in done.stdout
    table.write_text("host,team\nweb-1,shop\n")
    assert headrace("check", "--settings-only").returncode == 0


def test_a_receiver_is_asked_without_a_notification(
    tmp_path: Path, kafka: str, httpserver: HTTPServer
) -> None:
    headrace = CommandLine(tmp_path, kafka)
    httpserver.expect_request(f"/{SECRET}").respond_with_data("", status=405)
    hook = {"type": "webhook", "url": httpserver.url_for(f"/{SECRET}")}
    headrace.settings["notifier"] = {
        "receivers": [{"name": "console", "channels": [hook]}],
    }
    done = headrace("check")
    host = f"{httpserver.host}:{httpserver.port}"
    assert f"ok             console/webhook[0]: {host} answers (405); nothing was sent" in lines(
        done.stdout
    )
    assert [request.method for request, _ in httpserver.log] == ["HEAD"]


def test_the_channels_of_an_alertmanager_configuration_are_asked_too(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    headrace = CommandLine(tmp_path, "127.0.0.1:9")
    httpserver.expect_request("/there").respond_with_data("", status=405)
    file = tmp_path / "alertmanager.yml"
    file.write_text(
        f"""
        global: {{slack_api_url: "http://127.0.0.1:9/{SECRET}"}}
        route: {{receiver: ops}}
        receivers:
          - name: ops
            webhook_configs: [{{url: "{httpserver.url_for("/there")}"}}]
            email_configs: [{{to: a@b.c, from: d@e.f, smarthost: "127.0.0.1:9"}}]
            slack_configs: [{{channel: ops}}]
            apprise_configs: [{{url: "json://127.0.0.1:9/{SECRET}"}}]
            console_configs: [{{}}]
        """
    )
    headrace.settings["notifier"] = {"config_file": str(file)}
    done = headrace("check")
    said = {
        words[1].rstrip(":"): words[0] for line in lines(done.stdout) if (words := line.split())
    }
    expected = {
        "ops/webhook[0]": "ok",
        "ops/email[0]": "failed",
        "ops/slack[0]": "failed",
        "ops/apprise[0]": "ok",
    }
    assert {name: fate for name, fate in said.items() if name.startswith("ops/")} == expected
    assert [request.method for request, _ in httpserver.log] == ["HEAD"]
    assert SECRET not in done.stdout + done.stderr


def test_a_wrong_kafka_password_is_told_at_once(tmp_path: Path, secured: SecuredKafka) -> None:
    headrace = CommandLine(tmp_path, secured.secured)
    headrace.settings["kafka"]["options"] = secured.options("queen-of-hearts")
    done = headrace("check")
    (line,) = (line for line in lines(done.stdout) if " kafka:" in line)
    assert line.startswith("failed")
    assert "Invalid username or password" in line
    assert line.endswith("(check the credentials in kafka.options)")
    assert "queen-of-hearts" not in done.stdout + done.stderr


def test_permissions_that_lack_are_named(tmp_path: Path, secured: SecuredKafka) -> None:
    headrace = CommandLine(tmp_path, secured.bootstrap_servers)
    assert headrace("setup").returncode == 0
    headrace.settings["kafka"] |= {
        "bootstrap_servers": secured.secured,
        "options": secured.options(),
    }
    secured.allow(headrace.name, [AclOperation.DESCRIBE, AclOperation.WRITE])
    done = headrace("check")
    assert (
        f"failed         topics: not allowed to read {headrace.name}-input, "
        f"read {headrace.name}-rollups, read {headrace.name}-anomalies, "
        f"read {headrace.name}-alerts, read {headrace.name}-commands, "
        f"read {headrace.name}-notifications, read {headrace.name}-incidents, "
        f"read {headrace.name}-models "
        "(give the user in kafka.options the permission)"
    ) in lines(done.stdout)
    secured.allow(headrace.name, [AclOperation.READ])
    assert headrace("check").returncode == 0
    assert PASSWORD not in done.stdout + done.stderr


def test_an_option_that_librdkafka_does_not_have_is_found_without_a_server(tmp_path: Path) -> None:
    headrace = CommandLine(tmp_path, "127.0.0.1:9")
    headrace.settings["kafka"]["options"] = {"sasl.usrname": "alice", "sasl.password": PASSWORD}
    done = headrace("check", "--settings-only")
    assert done.returncode == 1
    (said,) = [line for line in lines(done.stdout) if "kafka.options" in line]
    assert said.startswith('failed         kafka.options: No such configuration property: "sasl.us')
    assert PASSWORD not in done.stdout + done.stderr


def test_programs_get_a_document(tmp_path: Path) -> None:
    headrace = CommandLine(tmp_path, "127.0.0.1:9")
    headrace.settings["kafka"]["options"] = {"client.rack": "a"}
    done = headrace("check", "--settings-only", "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document["ok"] is True
    assert {"outcome": "ok", "thing": "kafka.options: client.rack"} in document["outcomes"]
    headrace.settings["kafka"]["options"] = {"client.rak": "a"}
    done = headrace("check", "--settings-only", "--json")
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (1, False)
