"""A short run of the fuzzer over each format; `make fuzz` does the long ones."""

import os
import time

import pytest

from operators.decoders import DECODERS
from tests.fuzz.findings import smallest
from tests.fuzz.running import run
from tests.fuzz.targets import TARGETS

INPUTS = 10_000
SEED = int(os.environ.get("HEADRACE_FUZZ_SEED", time.time_ns() % 1_000_000))


def test_every_decoder_is_fuzzed():
    assert TARGETS.keys() == DECODERS.keys()


@pytest.mark.parametrize("encoding", list(TARGETS))
def test_no_damage_makes_a_decoder_raise_die_hang_or_harm_a_neighbour(encoding, tmp_path):
    print(f"seed {SEED}")
    report = run(encoding, INPUTS, SEED, tmp_path)
    assert report.findings == [], f"seed {SEED}"
    assert report.state["inputs"] >= INPUTS
    assert report.state["rejected"] > INPUTS // 10, "damage that does no harm tests nothing"
    assert report.state["points"] > INPUTS // 50, "damage that leaves nothing tests little"
    assert report.state["grown"] < 64 << 20


def test_of_messages_that_fail_together_few_are_left():
    bad = {3, 40}
    kept = smallest([bytes([i]) for i in range(64)], lambda some: bad <= {m[0] for m in some})
    assert {message[0] for message in kept} == bad
