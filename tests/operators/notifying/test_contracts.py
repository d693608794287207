"""What subscribers read is what the schemas say; commands that are none are refused."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import jsonschema
import numpy as np
import orjson
import pytest

from operators.contracts.items import Polled
from operators.notifying.command import (
    InvalidCommand,
    command_of,
    decode_commands,
    encode_command,
    expire_command,
)
from operators.notifying.correlation import Correlation
from operators.notifying.incidents import record
from operators.notifying.journal import record_key, record_value
from operators.notifying.matchers import parse_matchers
from operators.notifying.silences import Silence
from tests.operators.notifying.samples import HOUR, MINUTE, START, World, alert


def schema(name: str) -> Any:
    text = resources.files("operators.notifying").joinpath(f"{name}.schema.json").read_text()
    return json.loads(text)


def played() -> World:
    """Told, held back, and failed, with an incident."""
    world = World(correlation=Correlation(window=HOUR))
    world.happen(alert({"alertname": "A", "service": "shop"}))
    world.happen(alert({"alertname": "B", "service": "shop"}))
    world.wait_until(START + MINUTE)
    world.receivers.down = {"ops/webhook[0]"}
    world.happen(alert({"alertname": "C"}))
    silence = Silence("s", parse_matchers("alertname=D"), 0, START + HOUR, "me", "", START)
    world.notifier.holds.silences.put(silence, START)
    world.happen(alert({"alertname": "D"}))
    world.wait_until(START + 3 * MINUTE)
    return world


def test_records_of_notifications_are_as_their_schema_says() -> None:
    records = played().notifier.chronicle.records()
    assert {one.outcome for one in records} == {"delivered", "failed", "held"}
    documents = [orjson.loads(record_value(one)) for one in records]
    for document in documents:
        jsonschema.validate(document, schema("notification"))
    assert {"silenced", "member", "first"} <= {document["reason"] for document in documents}
    assert len({record_key(one) for one in records}) == 4


def test_every_event_counts_once_under_the_reason_that_decided() -> None:
    report = played().notifier.chronicle.noise.report()
    assert report["events"] == 4
    assert report["by_reason"] == {"member": 1, "silenced": 1, "told": 2}
    assert (report["notifications"], report["failed"]) == (1, 1)


def test_incidents_are_as_their_schema_says() -> None:
    incidents = played().notifier.incidents
    assert incidents is not None
    for incident in incidents.open.values():
        jsonschema.validate(record(incident), schema("incident"))


WRONG = {
    "not JSON": (b"?", "not JSON"),
    "nothing to do": (b'{"schema":"headrace.command/v1","id":"1","at":"x","by":""}', "do"),
    "a silence without one": (
        b'{"schema":"headrace.command/v1","id":"1","at":"2026-01-01T00:00:00Z","by":"","do":"silence"}',
        "silence",
    ),
    "no such time": (
        b'{"schema":"headrace.command/v1","id":"1","at":"2026-13-01T00:00:00Z","by":"","do":"expire",'
        b'"silenceId":"s"}',
        "not a time",
    ),
}


@pytest.mark.parametrize(("payload", "said"), WRONG.values(), ids=WRONG)
def test_what_is_no_command_is_refused(payload: bytes, said: str) -> None:
    with pytest.raises(InvalidCommand, match=said):
        command_of(payload)


def test_what_is_no_command_among_commands_is_a_dead_letter() -> None:
    good = encode_command(expire_command("c", "me", "s", at=START))
    polled = Polled(0, "commands", [b"?", good], np.zeros(2, np.int32), np.arange(2))
    commands, rejects = decode_commands(polled)
    assert [command.silence_id for command in commands] == ["s"]
    assert rejects["payload"].to_list() == [b"?"]
    assert "not a command: not JSON" in rejects["reason"][0]
