"""Settings are parsed strictly: what does not fit stops the start with one line that says where."""

import os
from pathlib import Path

import pytest

from flows.inputs import kafka_source
from flows.process.redaction import Redaction
from flows.settings import Settings, SettingsError, load_settings

SECRET = "s3cr3t-t0ken"
INFLUX = "sinks: {influxdb: {url: http://i:8086, org: o%s}}"


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("HEADRACE"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def load(text: str, tmp_path: Path) -> Settings:
    path = tmp_path / "headrace.yaml"
    path.write_text(text)
    return load_settings(path)


def fault(text: str, tmp_path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load(text, tmp_path)
    message = str(caught.value).replace(str(tmp_path / "headrace.yaml"), "headrace.yaml")
    assert "\n" not in message
    return message


BAD = {
    "an unknown section": ("kafak: {}", "headrace.yaml: kafak: unknown key"),
    "an unknown key": ("kafka: {bootstrap: x}", "headrace.yaml: kafka.bootstrap: unknown key"),
    "an unknown key in a list": (
        "inputs: [{topic: a}, {topic: b, codec: x}]", "headrace.yaml: inputs[1].codec: unknown key",
    ),
    "a bad duration": (
        "rollups: {windows: [10s, 10x]}",
        'headrace.yaml: rollups.windows[1]: "10x" is not a duration (write 10s, 5m, 1h)',
    ),
    "a number for a duration": (
        "rollups: {lateness: 10}",
        'headrace.yaml: rollups.lateness: "10" is not a duration (write 10s, 5m, 1h)',
    ),
    "a window of nothing": (
        "rollups: {windows: [0s]}",
        "headrace.yaml: rollups.windows[0]: must be longer than nothing (write 10s, 5m, 1h)",
    ),
    "no window": ("rollups: {windows: []}", "headrace.yaml: rollups.windows: at least one window is needed"),
    "a window that does not nest": (
        "rollups: {windows: [10s, 25s]}",
        "headrace.yaml: rollups.windows: 25s is not a multiple of 10s, the window before it: "
        "write them from fine to coarse",
    ),
    "windows from coarse to fine": (
        "rollups: {windows: [1m, 10s]}",
        "headrace.yaml: rollups.windows: 10s is not a multiple of 1m, the window before it: "
        "write them from fine to coarse",
    ),
    "a judged window that is not there": (
        "scoring: {window: 5m}", "headrace.yaml: scoring.window: 5m is not in rollups.windows",
    ),
    "a topic twice": ("inputs: [{topic: a}, {topic: a}]", "headrace.yaml: inputs: two have the same topic"),
    "a tenant from two places": (
        "inputs: [{topic: a, tenant_header: X, tenant_attribute: y}]",
        "headrace.yaml: inputs[0]: give either tenant_header or tenant_attribute",
    ),
    "no name of a tenant": (
        'inputs: [{topic: a, tenant: ""}]',
        "headrace.yaml: inputs[0].tenant: not the name of a tenant: 1 to 150 characters, no "
        "control characters",
    ),
    "counters that are no expression": (
        "inputs: [{topic: a, counters: '('}]",
        'headrace.yaml: inputs[0].counters: "(" is not a regular expression: missing ), '
        "unterminated subpattern at position 0",
    ),
    "a limit of nothing": (
        "limits: {series: 0}",
        "headrace.yaml: limits.series: Input should be greater than or equal to 1",
    ),
    "an unknown limit of a tenant": (
        "limits: {tenants: {a: {serie: 5}}}", "headrace.yaml: limits.tenants.a.serie: unknown key",
    ),
    "a missing secret": (
        INFLUX % "",
        "headrace.yaml: sinks.influxdb.token: missing (write it there, or set "
        "HEADRACE__SINKS__INFLUXDB__TOKEN)",
    ),
    "a secret's file that is not there": (
        INFLUX % ", token_file: /nowhere/token",
        "headrace.yaml: sinks.influxdb: token_file: cannot read /nowhere/token: No such file or directory",
    ),
    "no mapping": ("- a", "headrace.yaml: must be a mapping of sections, as kafka: {…}"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_fault_is_one_line_with_the_place_and_the_way_out(name, tmp_path):
    text, message = BAD[name]
    assert fault(text, tmp_path) == message


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("run: {until: never}", "run.until"), ("run: {since: yesterday}", "run.since"),
        ("inputs: [{topic: ''}]", "inputs[0].topic"), ("inputs: [{}]", "inputs[0].topic"),
        ("inputs: [{topic: a, encoding: xml}]", "inputs[0].encoding"),
        ("kafka: {readers: 0}", "kafka.readers"), ("kafka: {readers: many}", "kafka.readers"),
        ("rollups: {shards: 5000}", "rollups.shards"), ("scoring: {warm_up: 1}", "scoring.warm_up"),
        ("monitoring: {port: 70000}", "monitoring.port"), ("kafka: 5", "kafka"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_names_its_key(text, key, tmp_path):
    assert fault(text, tmp_path).startswith(f"headrace.yaml: {key}: ")


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\t- x"])
def test_what_is_not_yaml_is_said_in_one_line(text, tmp_path):
    assert fault(text, tmp_path).startswith("headrace.yaml: not YAML: ")


def test_a_file_that_is_named_and_not_there_says_how_to_name_it(tmp_path):
    with pytest.raises(
        SettingsError, match=r"cannot be read: No such file or directory \(set HEADRACE_CONFIG"
    ):
        load_settings(tmp_path / "gone.yaml")


def test_without_a_file_the_defaults_hold():
    assert load_settings() == Settings()


def test_an_empty_file_is_as_good_as_none(tmp_path):
    assert load("", tmp_path) == Settings()


def test_the_file_is_headrace_yaml_or_what_the_environment_names(tmp_path, monkeypatch):
    (tmp_path / "headrace.yaml").write_text("kafka: {group: here}")
    (tmp_path / "other.yaml").write_text("kafka: {group: there}")
    assert load_settings().kafka.group == "here"
    monkeypatch.setenv("HEADRACE_CONFIG", str(tmp_path / "other.yaml"))
    assert load_settings().kafka.group == "there"
    assert load_settings(tmp_path / "headrace.yaml").kafka.group == "here"


def test_the_environment_wins_over_the_file_key_by_key(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE__KAFKA__BOOTSTRAP_SERVERS", "env:1")
    monkeypatch.setenv("HEADRACE__ROLLUPS__WINDOWS", '["5s", "1m"]')
    found = load(
        "kafka: {bootstrap_servers: 'file:1', group: file}\nrollups: {lateness: 3s}", tmp_path
    )
    assert (found.kafka.bootstrap_servers, found.kafka.group) == ("env:1", "file")
    assert found.rollups.windows == (5 * 10**9, 60 * 10**9)
    assert found.rollups.lateness == 3 * 10**9


def test_a_fault_in_the_environment_names_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE__ROLLUPS__LATENESS", "10x")
    assert fault("", tmp_path) == (
        'HEADRACE__ROLLUPS__LATENESS: rollups.lateness: "10x" is not a duration (write 10s, 5m, 1h)'
    )


@pytest.mark.parametrize(
    ("variable", "value"), [("HEADRACE__KAFAK__GROUP", "x"), ("HEADRACE__KAFKA__GRUOP", "x")]
)
def test_a_misspelt_variable_is_not_ignored(variable, value, tmp_path, monkeypatch):
    monkeypatch.setenv(variable, value)
    assert variable in fault("", tmp_path)


def test_a_secret_may_be_in_the_file_the_environment_or_a_file_of_its_own(tmp_path, monkeypatch):
    def token(text: str) -> str:
        influxdb = load(text, tmp_path).sinks.influxdb
        assert influxdb is not None
        return influxdb.token.get_secret_value()

    assert token(INFLUX % f", token: {SECRET}") == SECRET
    held = tmp_path / "token"
    held.write_text(f"{SECRET}\n")
    assert token(INFLUX % f", token_file: {held}") == SECRET
    monkeypatch.setenv("HEADRACE__SINKS__INFLUXDB__TOKEN", SECRET)
    assert token(INFLUX % "") == SECRET


def test_a_secret_shows_nowhere(tmp_path):
    text = (
        f"sinks: {{influxdb: {{url: 'http://i:8086', org: o, token: {SECRET}}}, "
        f"elasticsearch: {{hosts: ['http://e:9200'], username: u, password: {SECRET}}}}}"
    )
    found = load(text, tmp_path)
    for shown in (repr(found), str(found), str(found.model_dump()), found.model_dump_json()):
        assert SECRET not in shown


@pytest.mark.parametrize(
    "text",
    [
        INFLUX % f", token: [{SECRET}]",
        INFLUX % f", token: {SECRET}, tokn: x",
        INFLUX % f", token: {SECRET}, bucket: b",
        f"sinks: {{elasticsearch: {{hosts: ['https://u:{SECRET}@e']}}}}",
        f"sinks: {{elasticsearch: {{hosts: ['http://e:9200'], username: u, api_key: {SECRET}}}}}",
        f"notifier: {{receivers: [{{name: a, channels: [{{type: slack, url: {SECRET}}}]}}]}}",
    ],
)
def test_a_secret_is_in_no_message_about_a_fault(text, tmp_path):
    assert SECRET not in fault(text, tmp_path)


def test_settings_cannot_be_changed_once_read():
    with pytest.raises(ValueError, match="frozen"):
        Settings().kafka.group = "other"  # type: ignore[misc]


def test_a_tenant_has_the_general_limits_but_for_those_of_its_own(tmp_path):
    limits = load(
        "limits: {series: 50, series_per_metric: 20, tenants: {a: {series: 90}, b: "
        "{series_per_metric: 7}}}",
        tmp_path,
    ).limits
    found = {name: limits.of(name) for name in ("a", "b", "c")}
    assert {name: (of.series, of.series_per_metric) for name, of in found.items()} == {
        "a": (90, 20), "b": (50, 7), "c": (50, 20)
    }  # fmt: skip


def test_a_series_limit_is_there_without_being_asked_for():
    limits = Settings().limits.of("anyone")
    assert (limits.series, limits.series_per_metric) == (2_000_000, 1_000_000)


def test_durations_are_written_as_they_are_read():
    assert Settings().model_dump()["rollups"]["windows"] == ("10s", "1m")


def test_without_a_sink_rollups_go_to_the_lake(tmp_path):
    assert Settings().sinks.lake is not None
    assert load(INFLUX % ", token: ''", tmp_path).sinks.lake is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HEADRACE__INPUTS", "[{topic"),
        ("HEADRACE__KAFKA", "{a"),
        ("HEADRACE__KAFKA__OPTIONS", '{"sasl.password": "s3cr3t-t0ken"'),
        ("HEADRACE__ROLLUPS__WINDOWS", "10s"),
        ("HEADRACE__INPUTS", "otlp_metrics"),
    ],
)
def test_a_list_or_mapping_that_is_no_json_names_the_variable(
    variable, value, tmp_path, monkeypatch
):
    monkeypatch.setenv(variable, value)
    message = fault("{}", tmp_path)
    assert message.startswith(f"{variable}: not JSON: ")
    assert SECRET not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inputs: {topic: a}", "inputs: must be a list"),
        ("inputs: [a]", "inputs[0]: must be a mapping"),
        ("rollups: {windows: 10s}", "rollups.windows: must be a list"),
        ("kafka: {readers: many}", "kafka.readers: must be a whole number"),
        ("kafka: {group: 5}", "kafka.group: must be text"),
        ("scoring: {enabled: perhaps}", "scoring.enabled: must be true or false"),
    ],
)
def test_what_a_value_must_be_is_said_in_words_of_yaml(text, said, tmp_path):
    assert said in fault(text, tmp_path)


def test_a_secret_in_the_environment_wins_over_its_file_in_the_settings(tmp_path, monkeypatch):
    (tmp_path / "old").write_text("old-token")
    (tmp_path / "new").write_text("new-token")
    in_file = (INFLUX % ", token_file: OLD").replace("OLD", str(tmp_path / "old"))
    monkeypatch.setenv("HEADRACE__SINKS__INFLUXDB__TOKEN", SECRET)
    settings = load(in_file, tmp_path)
    assert settings.sinks.influxdb is not None
    assert settings.sinks.influxdb.token.get_secret_value() == SECRET
    monkeypatch.delenv("HEADRACE__SINKS__INFLUXDB__TOKEN")
    monkeypatch.setenv("HEADRACE__SINKS__INFLUXDB__TOKEN_FILE", str(tmp_path / "new"))
    settings = load(INFLUX % ", token: old", tmp_path)
    assert settings.sinks.influxdb is not None
    assert settings.sinks.influxdb.token.get_secret_value() == "new-token"


def test_a_secret_and_its_file_beside_each_other_are_refused(tmp_path):
    text = INFLUX % f", token: {SECRET}, token_file: /any"
    message = fault(text, tmp_path)
    assert "give either token or token_file" in message
    assert SECRET not in message


def test_secrets_of_librdkafka_may_be_in_files(tmp_path):
    (tmp_path / "password").write_text(f"{SECRET}\n")
    options = f"sasl.password_file: {tmp_path / 'password'}, ssl.ca.location: /ca.pem"
    settings = load(f"kafka: {{options: {{{options}}}}}", tmp_path)
    assert settings.kafka.options == {"sasl.password": SECRET, "ssl.ca.location": "/ca.pem"}
    assert SECRET not in Redaction(settings)(f"wrong: {SECRET}")
    message = fault("kafka: {options: {ssl.key.password_file: /none}}", tmp_path)
    assert "ssl.key.password_file: cannot read /none" in message
    both = "kafka: {options: {sasl.password: a, sasl.password_file: /none}}"
    assert "give either sasl.password or sasl.password_file" in fault(both, tmp_path)


def test_a_flow_may_have_a_port_of_its_own(tmp_path):
    monitoring = load("monitoring: {port: 9464, ports: {notifier: 9465}}", tmp_path).monitoring
    assert (monitoring.port_of("metrics"), monitoring.port_of("notifier")) == (9464, 9465)


@pytest.mark.parametrize(
    ("told", "wanted", "counts"),
    [({}, None, 8 << 20), ({}, 16 << 20, 16 << 20), ({"poll_bytes": 1 << 20}, 16 << 20, 1 << 20)],
)
def test_a_flow_may_read_more_at_once_where_the_settings_do_not_say_how_much(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, int], wanted: int | None, counts: int
) -> None:
    read: list[int] = []
    monkeypatch.setattr(
        "flows.inputs.KafkaSource", lambda kafka, *_, **__: read.append(kafka.poll_bytes)
    )
    settings = Settings.model_validate({"kafka": told})
    kafka_source(settings, "traces", ("spans",), poll_bytes=wanted)
    assert read == [counts]
