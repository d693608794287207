"""Prometheus' own test files, where a folder of them is named; and some cases of the same kind."""

import os
from pathlib import Path

import pytest

from tests.promql.running import run

OWN = """
load 1m
  requests_total{job="a", instance="1"}  0+60x10
  requests_total{job="a", instance="2"}  0+120x5 0+120x5
  requests_total{job="b", instance="1"}  0+30x4 stale _x3 0+30x3
  latency_bucket{le="1"}     0+5x10
  latency_bucket{le="2"}     0+8x10
  latency_bucket{le="+Inf"}  0+10x10
  native                     {{schema:0 sum:4 count:4 buckets:[1 2 1]}}+{{schema:0 sum:2 count:2 buckets:[0 1 1]}}x10

eval instant at 10m sum by (job) (rate(requests_total[5m]))
  {job="a"} 2.6
  {job="b"} 0.1

eval instant at 5m requests_total{job="b"}

eval instant at 10m histogram_quantile(0.5, rate(latency_bucket[5m]))
  {} 1

eval instant at 10m requests_total > on (instance) group_left () max by (instance) (requests_total) * 0.9
  requests_total{job="a", instance="1"} 600
  requests_total{job="a", instance="2"} 480

eval instant at 10m histogram_count(native) + histogram_sum(native)
  {} 48

eval range from 0 to 3m step 1m absent(requests_total{job="b"} > 50)
  {} 1 1 _ _

eval instant at 10m {__name__=~"requests_total|latency_bucket", instance=""} or vector(1)
  {} 1
  latency_bucket{le="1"} 50
  latency_bucket{le="2"} 80
  latency_bucket{le="+Inf"} 100

eval instant at 10m sum(native == native) </ 2
  {} {{schema:0 sum:17.677669529663689 count:13 buckets:[1 12]}}

eval instant at 10m native >/ -Inf == native
  native {{schema:0 sum:24 count:24 buckets:[1 12 11]}}

eval instant at 10m topk(1, requests_total{job="a"}) </ 1 == 0
  expect info

eval instant at 10m info(requests_total{instance="1", job="a"}, {version=~".*"})
  requests_total{job="a", instance="1"} 600

eval instant at 10m topk(2, {version=~".*"})
  expect fail

eval instant at 10m native >/ bool 1
  expect fail

eval instant at 10m rate({job="a"}[5m]) + on () rate(requests_total[5m])
  expect fail
"""
FILES = os.environ.get("HEADRACE_PROMQL", "")
# What the parser does not know, and what no rule file uses: see README.
BEYOND = {
    "duration_expression.test", "extended_vectors.test", "native_histograms.test",
    "start_timestamps.test",
}  # fmt: skip


@pytest.mark.parametrize("delayed", [False, True])
def test_own_cases_pass(delayed):
    outcomes = run(OWN, delayed)
    assert len(outcomes) == 14
    assert not [outcome for outcome in outcomes if outcome.reason]


def test_prometheus_files_pass():
    if not FILES:
        pytest.skip("HEADRACE_PROMQL names no folder of Prometheus' .test files")
    passed, failed = 0, []
    for file in sorted(Path(FILES).glob("*.test")):
        outcomes = run(file.read_text(encoding="utf-8"))
        passed += sum(not outcome.reason for outcome in outcomes)
        if file.name not in BEYOND:
            failed += [(file.name, one.line, one.reason) for one in outcomes if one.reason]
    assert passed >= 2003
    assert not failed
