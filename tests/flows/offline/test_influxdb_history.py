"""What is judged of a history in InfluxDB is what is judged of the same in the lake."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from flows.offline.backtest.judging import judge
from flows.offline.history.base import BadHistory
from flows.offline.history.influxdb import InfluxHistory
from flows.offline.history.lake import LakeHistory
from flows.settings import LakeSection, Scoring
from flows.settings.sinks import InfluxDBSection
from models.artefact import read_artefact
from operators.contracts.batch_form import ROLLUP_BATCHES
from sinks import influxdb_setup
from sinks.influxdb import InfluxDB
from sinks.kafka import batch_messages
from sinks.lake import Lake
from tests.backends.influxdb import InfluxdbAccess
from tests.flows.command_line import CommandLine
from tests.flows.offline.made_rollups import BEGIN, WINDOW, frame, made
from tests.flows.telemetry import feed

END = BEGIN + 400 * WINDOW


@pytest.fixture
def settings(influxdb: InfluxdbAccess) -> InfluxDBSection:
    given = InfluxDBSection(
        url=influxdb.url, org=influxdb.org, token=influxdb.token,
        bucket=f"{uuid.uuid4().hex[:12]}_{{window}}",
    )  # fmt: skip
    influxdb_setup.ensure(given, [WINDOW])
    return given


def test_both_give_the_same_alerts(settings: InfluxDBSection, tmp_path: Path) -> None:
    # What InfluxDB keeps: no units. Of histograms it has percentiles; a tag may be named as a field.
    labels = '{"count":"7","host.name":"a \\"b\\", c=d"}'
    rollups = frame(made(4), list(range(100, 112))).with_columns(
        unit=pl.lit(""),
        labels=pl.when(pl.col("series") == 101).then(pl.lit(labels)).otherwise("labels"),
        tenant=pl.when(pl.col("series") == 102).then(pl.lit("acme")).otherwise("tenant"),
    )
    Lake(LakeSection(path=tmp_path)).write(rollups)
    InfluxDB(settings).write(rollups)
    of_lake, of_influxdb = (
        judge(history, Scoring(), shards=1, cores=1)
        for history in (
            LakeHistory(tmp_path, WINDOW, BEGIN, END),
            InfluxHistory(settings, WINDOW, BEGIN, END),
        )
    )
    facts = ["tenant", "name", "labels", "rollups", "scored", "anomalous", "first", "last"]
    assert of_influxdb.series.select(facts).rows() == of_lake.series.select(facts).rows()
    assert of_lake.events
    # What says which id a series has is the rollups topic, and here is none.
    for event, _ in (*of_influxdb.events, *of_lake.events):
        for told in (event["evidence"], *event["evidence"].get("members", ())):
            del told["series"]
    assert of_influxdb.events == of_lake.events


def test_series_that_are_known_have_their_ids_and_units(
    settings: InfluxDBSection, kafka: str, tmp_path: Path
) -> None:
    rollups = frame(made(5), list(range(100, 112)))  # with units, and ids of their own
    Lake(LakeSection(path=tmp_path / "lake")).write(rollups)
    InfluxDB(settings).write(rollups)
    headrace = CommandLine(tmp_path, kafka, models={"path": str(tmp_path / "artefacts")})
    sink = {"url": settings.url, "org": settings.org, "token": settings.token.get_secret_value()}
    headrace.settings["sinks"]["influxdb"] = {**sink, "bucket": settings.bucket}
    messages = batch_messages([(0, rollups)], ROLLUP_BATCHES, headrace.topics["rollups"], 1)
    assert messages is not None
    feed(kafka, headrace.topics["rollups"], messages["value"].to_list())
    span = ("--since", f"{datetime.fromtimestamp(BEGIN / 1e9, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "--until", f"{datetime.fromtimestamp(END / 1e9, UTC):%Y-%m-%dT%H:%M:%SZ}")  # fmt: skip
    states = []
    for source in ((), ("--influxdb",)):
        done = headrace("retrain", "--json", *span, *source, "--candidate", "detector=robust_ewma")
        assert done.returncode == 0, done.stderr
        path = Path(json.loads(done.stdout)["path"])
        states.append(read_artefact(path.read_bytes(), str(path)).states)
    assert states[0].height > 5
    assert states[1].equals(states[0])


def test_what_is_not_there_is_said(settings: InfluxDBSection) -> None:
    with pytest.raises(BadHistory, match="no rollups in that span of time"):
        list(InfluxHistory(settings, WINDOW, BEGIN, END).stretches())
    with pytest.raises(BadHistory, match="run `headrace setup`"):
        list(InfluxHistory(settings, 2 * WINDOW, BEGIN, END).stretches())
