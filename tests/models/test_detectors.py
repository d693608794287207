"""One suite over all detectors: a score of one or more means anomalous, whichever it is."""

import doctest
import importlib
import json
import math
import pkgutil
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from river.base import AnomalyDetector

import models
from models.base import Bank, Detector, ScalarBank
from models.named import DETECTORS
from models.river_model import RiverModel

detectors = pytest.mark.parametrize("name", list(DETECTORS))
finite = st.floats(-1e9, 1e9)


def trained(name: str, values: list[float]) -> Detector:
    detector = DETECTORS[name]()
    for value in values:
        detector.learn(value)
    return detector


def noise(seed: int, size: int) -> list[float]:
    source = random.Random(seed)
    return [source.gauss(100.0, 5.0) for _ in range(size)]


@detectors
@settings(deadline=None, max_examples=40)
@given(values=st.lists(finite, min_size=1, max_size=60), judged=finite)
def test_outside_of_the_band_scores_one_or_more(name, values, judged):
    found = trained(name, values).judge(judged)
    assert 0 <= found.score <= 20
    if name == "peak_rank" and len(values) < 20:
        assert math.isnan(found.lower)
        assert math.isnan(found.upper)
        return
    assert found.lower <= found.expected <= found.upper
    # At the very edge the last digit may say either.
    width = max(found.upper - found.lower, abs(found.upper), abs(found.lower)) * 1e-9
    # What is inside may be anomalous for what came before it, where a detector looks at more.
    if found.lower + width < judged < found.upper - width and name != "peak_rank":
        assert found.score < 1
    possible = judged >= 0 or min(values) < 0
    if possible and (judged < found.lower - width or judged > found.upper + width):
        assert found.score >= 1


@detectors
@given(values=st.lists(finite, max_size=30), judged=finite)
def test_judging_changes_nothing(name, values, judged):
    detector = trained(name, values)
    before = detector.state
    assert same(detector.judge(judged), detector.judge(judged))
    assert detector.state == before


@detectors
@given(values=st.lists(finite, max_size=40), further=st.lists(finite, min_size=1, max_size=20))
def test_a_detector_goes_on_from_its_state(name, values, further):
    one = trained(name, values)
    two = DETECTORS[name]().resume(plain(one.state))
    for value in further:
        assert same(one.judge(value), two.judge(value))
        one.learn(value)
        two.learn(value)
    assert one.state == two.state


def plain(state: tuple[float, ...] | bytes) -> tuple[float, ...] | bytes:
    """Return a state as it is after it was stored: bytes, or what JSON has."""
    return (
        bytes(bytearray(state))
        if isinstance(state, bytes)
        else tuple(json.loads(json.dumps(state)))
    )


@detectors
def test_noise_does_not_fire_and_what_stands_out_does(name):
    detector = trained(name, noise(1, 200))
    scores = []
    for value in noise(2, 500):
        scores.append(detector.judge(value).score)
        detector.learn(value)
    # The default is young here: one of 500 may just be a record.
    assert max(scores) < {"peak_rank": 1.1}.get(name, 1.0)
    assert detector.judge(200.0).score >= 1
    assert detector.judge(0.0).score >= 1


@pytest.fixture(params=[(name, own) for name in DETECTORS for own in (True, False)], ids=str)
def bank_of(request):
    """A maker of empty banks, and of detectors: the kind's own bank, and the one for any kind."""
    name, own = request.param
    detector = DETECTORS[name]()
    return (detector.bank if own else lambda: ScalarBank(detector)), DETECTORS[name]


any_finite = st.floats(allow_nan=False, allow_infinity=False)
ROWS = 5
times = st.integers(0, 2 * 10**18)
STEPS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, ROWS - 1), any_finite | finite, times), max_size=30),
        st.sampled_from(["go on", "stop and resume", "forget", "keep", "grow"]),
        st.lists(st.integers(0, ROWS - 1), unique=True, max_size=ROWS),
    ),
    max_size=4,
)


@settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_a_row_of_a_bank_is_to_the_last_bit_a_detector_of_its_own(bank_of, steps):
    new_bank, new_detector = bank_of
    bank: Bank = new_bank()
    bank.grow(ROWS)
    alone = [new_detector() for _ in range(ROWS)]
    for learned, then, chosen in steps:
        rows = np.array([row for row, _, _ in learned], np.int32)
        times = np.array([time for _, _, time in learned], np.int64)
        found = bank.judge_then_learn(rows, np.array([value for _, value, _ in learned]), times)
        assert found.shape == (5, len(learned))
        for judgement, (row, value, time) in zip(found.T, learned, strict=True):
            assert same(judgement, alone[row].judge(value, time))
            alone[row].learn(value, time)
        picked = np.array(chosen, np.intp)
        if then == "stop and resume":
            bank = new_bank().resume(bank.state)
        elif then == "forget":
            bank.forget(picked)
            alone = [new_detector() if row in chosen else d for row, d in enumerate(alone)]
        elif then == "keep":
            bank.keep(picked)
            alone = [alone[row] for row in chosen]
        if len(alone) < ROWS or then == "grow":
            bank.grow(ROWS)
            alone += [new_detector() for _ in range(ROWS)]
        assert len(bank) == len(alone)
        assert len(bank.state) == len(alone)
        for row, detector in zip(bank.state.to_list(), alone, strict=True):
            assert list(row) == pytest.approx(list(detector.state), rel=0, abs=0, nan_ok=True)


def same(one: np.ndarray, other: tuple[float, ...]) -> bool:
    """Whether two rows of numbers are the same bits, but for the kinds of NaN."""
    return np.array_equal(one, np.array(other), equal_nan=True)


@detectors
def test_a_bank_has_the_parameters_of_its_detector(name):
    usual = DETECTORS[name]()._get_params()
    detector = DETECTORS[name](**{option: value / 2 for option, value in usual.items()})
    bank = detector.bank()
    bank.grow(1)
    values = np.array(noise(5, 300))
    judged = bank.judge_then_learn(np.zeros(300, np.int32), values, np.zeros(300, np.int64))
    for judgement, value in zip(judged.T, values.tolist(), strict=True):
        assert same(judgement, detector.judge(value))
        detector.learn(value)


FIRING = {
    # A level of 100 and noise of 5: at 300 a spike, from 400 to 410 an incident of +60, from 600 on
    # a new level of 160, taken up after fourteen rows, and at 700 a fall for one row.
    # The default says less the longer it lasts, and what it saw before is no news.
    "peak_rank": {300, 301, 400, 401, 700},
    "robust_ewma": {300, *range(400, 411), *range(600, 614), 700},
}
FIRING["seasonal_baseline"] = FIRING["robust_ewma"]  # which it is without training


def story() -> list[float]:
    values = noise(7, 800)
    values[300] += 80
    for at in range(400, 411):
        values[at] += 60
    for at in range(600, 800):
        values[at] += 60
    values[700] -= 120
    return values


@detectors
def test_a_seeded_stream_fires_at_exactly_these_rows(name):
    detector, fired = DETECTORS[name](), set()
    for row, value in enumerate(story()):
        if row >= 20 and detector.judge(value).score >= 1:
            fired.add(row)
        detector.learn(value)
    assert fired == FIRING[name]


@detectors
def test_a_series_that_never_moved_is_not_anomalous_because_it_moves_a_little(name):
    detector = trained(name, [50.0] * 100)
    assert detector.judge(50.0).score == 0
    assert detector.judge(50.1).score < 1
    assert detector.judge(500.0).score >= 1


@detectors
@pytest.mark.parametrize("value", [0.0, 1e-300, 1e300, -1e300, 5e-324])
def test_the_sizes_of_floats_do_no_harm(name, value):
    detector = trained(name, [value] * 50)
    found = detector.judge(value)
    assert found.score == 0
    assert math.isfinite(found.expected)


@detectors
@pytest.mark.parametrize("when", [0, 3, 15, 60])
@pytest.mark.parametrize("huge", [1e200, -1e200, 1.7e308])
def test_a_value_that_nothing_measures_does_not_blind_a_detector(name, when, huge):
    values = noise(4, 400)
    values[when] = huge
    detector = trained(name, values)
    found = detector.judge(200.0)
    assert found.score >= 1
    assert 50 < found.lower < found.expected < found.upper < 200


@detectors
def test_it_is_a_detector_of_river_too(name):
    detector = DETECTORS[name]()
    assert isinstance(detector, AnomalyDetector)
    for value in noise(3, 50):
        detector.learn_one({"value": value})
    assert detector.score_one({"value": 200.0}) == detector.judge(200.0).score
    # River's checks: parameters are attributes, so that it can be cloned and shown.
    fresh = detector.clone()
    assert fresh._get_params() == detector._get_params()
    assert fresh.state == DETECTORS[name]().state
    assert repr(detector)


@detectors
def test_its_docstring_says_when_not_to_use_it_and_its_example_runs(name):
    module = importlib.import_module(DETECTORS[name].__module__)
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
    for section in ("Parameters", "Examples", "References"):
        assert section in (DETECTORS[name].__doc__ or "")


def test_every_detector_that_is_written_is_in_the_table():
    for found in pkgutil.iter_modules(models.__path__, "models."):
        importlib.import_module(found.name)
    assert set(Detector.__subclasses__()) == {*DETECTORS.values(), RiverModel}
