"""What a policy would keep is what the flow keeps, and the report says so."""

import orjson
import polars as pl
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from typer.testing import CliRunner

from flows.cli import app
from flows.commands.sampling_backtest import replay_of
from flows.offline.sampling.outcome import sampling_outcome
from flows.offline.sampling.replay import polls_of
from flows.settings import LakeSection
from sinks.lake_files import DAY
from sinks.span_lake import SpanLake, read_spans
from tests.operators.traces.driver import Driver
from tests.operators.traces.shop import SECOND, shop
from tests.operators.traces.test_sampling import RULES, expected
from tests.operators.traces.test_step import batches

CALLS = shop(11, 300, seconds=150)
KEYS = ["tenant", "trace_id", "span_id", "kind", "reason", "threshold"]


@pytest.fixture(scope="module")
def kept():
    """Return what the flow keeps."""
    driver = Driver(2, sampling=RULES)
    driver.follow()
    for number, batch in enumerate(batches(CALLS, 40, 1)):
        driver.send(number % 2, batch)
        driver.poll()
    driver.end()
    return driver.settings, pl.concat(driver.kept).unique(("trace_id", "span_id", "kind"))


def replayed(settings, spans):
    replay = replay_of(settings)
    for polled in polls_of([part for _, part in spans.sort("ended").group_by(
        pl.col("ended") // (60 * SECOND), maintain_order=True)]):  # fmt: skip
        replay.take(polled)
    return replay.end()


def test_the_same_policy_keeps_all_that_the_flow_kept_with_the_same_thresholds(kept, tmp_path):
    settings, spans = kept
    SpanLake(LakeSection(path=tmp_path)).write(spans)
    seen, again = replayed(settings, read_spans(tmp_path).collect())
    assert seen.height == spans.height
    assert again.select(KEYS).sort(KEYS).equals(spans.select(KEYS).sort(KEYS))


def test_another_policy_keeps_what_it_would_have_kept_of_all(kept):
    """A smaller ``rest`` is told of what a larger one kept: bottom-k of bottom-k."""
    settings, spans = kept
    sampling = settings.traces.sampling.model_copy(update={"rest": 1})
    smaller = settings.model_copy(
        update={"traces": settings.traces.model_copy(update={"sampling": sampling})}
    )
    _, again = replayed(smaller, spans)
    found = {
        int(trace, 16): (reason, threshold)
        for trace, reason, threshold in again.select("trace_id", "reason", "threshold").rows()
    }
    assert found == expected(CALLS, rest=1)


def test_the_command_tells_cost_and_coverage(kept, tmp_path, monkeypatch):
    _, spans = kept
    path = tmp_path / "lake"
    SpanLake(LakeSection(path=path)).write(spans)
    config = tmp_path / "headrace.yaml"
    config.write_text(
        orjson.dumps(
            {
                "inputs": [{"topic": "spans", "signal": "traces"}],
                "sinks": {"lake": {"path": str(path)}},
                "rollups": {"windows": ["10s", "1m"]},
                "traces": {"sampling": RULES},
            }
        ).decode()
    )
    monkeypatch.setenv("HEADRACE_CONFIG", str(config))
    page = tmp_path / "report.html"

    def run(*arguments):
        return CliRunner().invoke(app, ["sampling", "backtest", *arguments])

    answer = run("--set", "rest=1", "--against", "rest=2", "--report", str(page), "--json")
    assert answer.exit_code == 0, answer.output
    document = orjson.loads(answer.stdout)
    one, two = document["policies"]
    truth = {rest: expected(CALLS, rest=rest) for rest in (1, 2)}
    for policy, rest in ((one, 1), (two, 2)):
        assert policy["kept"]["traces"] == len(truth[rest])
        reasons = [reason for reason, _ in truth[rest].values()]
        assert policy["kept"]["by_reason"] == {r: reasons.count(r) for r in sorted(set(reasons))}
        failed = policy["coverage"]["failed traces"]
        assert failed["kept"] == failed["of"] == reasons.count("error")
    assert one["kept"]["bytes"] < two["kept"]["bytes"] == two["seen"]["bytes"]
    assert one["cost"]["bytes_a_day"] == pytest.approx(
        one["kept"]["bytes"] / (spans["ended"].max() - spans["ended"].min()) * DAY
    )
    assert two["operations"][0]["traces"] == pytest.approx(two["operations"][0]["estimated"])
    text = page.read_text()
    assert "What sampling keeps" in text
    assert "GET /cart" in text
    answer = run("--set", "rest=1")
    assert answer.exit_code == 0, answer.output
    assert "failed traces covered" in answer.stdout
    for wrong, says in (
        (["--set", "rest=-1"], "rest"), (["--set", "no=1"], "KEY=VALUE"), (["--from", "x"], "there is no"),
        (["--since", "2031-01-01"], "no spans in that time"),
    ):  # fmt: skip
        answer = run(*wrong)
        assert answer.exit_code != 0
        assert says in answer.output + str(answer.exception)


def test_tenants_with_the_same_traces_are_judged_each_alone(kept):
    settings, spans = kept
    other = spans.with_columns(tenant=pl.lit("other"))
    _, alone = replayed(settings, spans)
    seen, both = replayed(settings, pl.concat([spans, other.filter(pl.col("status") != 2)]))
    assert seen.height == spans.height + (spans["status"] != 2).sum()
    assert (
        both.filter(tenant="default").select(KEYS).sort(KEYS).equals(alone.select(KEYS).sort(KEYS))
    )
    # What the other lacks, as traces that failed, is not kept for it because of the first.
    reasons = both.filter(tenant="other")["reason"]
    assert "error" not in reasons
    assert "rest" in reasons


def test_a_span_that_took_a_year_does_not_make_a_day_cheaper(kept):
    settings, spans = kept
    first = Span.FromString(spans["span"][0])
    first.start_time_unix_nano -= 365 * 24 * 3600 * SECOND
    contents = [first.SerializeToString(), *spans["span"][1:]]
    long = spans.with_columns(span=pl.Series(contents, dtype=pl.Binary))
    costs = []
    for frame in (spans, long):
        replay = replay_of(settings)
        for polled in polls_of([frame]):
            replay.take(polled)
        seen, again = replay.end()
        costs.append(sampling_outcome("", {}, seen, again).bytes_a_day)
        took = seen["ended"].max() - seen["begun"].min()
        assert (took > 365 * 24 * 3600 * SECOND) == (frame is long)
    assert costs[1] == pytest.approx(costs[0], rel=0.1)  # more of it may be slow, and is kept
    assert costs[0] > 0
    assert sampling_outcome("", {}, *replay_of(settings).end()).bytes_a_day == 0
