"""A detector by its name: River's for real, options that are wrong, state that is no trap."""

import pickle
import random

import numpy as np
import pytest
from river import checks

from models.calibration import Calibration
from models.features import FEATURES, Features
from models.named import BadDetector, new_detector
from models.peak_rank import PeakRank
from models.robust_ewma import RobustEwma
from models.trusted import Untrusted, from_bytes

RIVER = {
    "river.anomaly.GaussianScorer": {},
    "river.anomaly.StandardAbsoluteDeviation": {},
    "river.anomaly.HalfSpaceTrees": {"n_trees": 5, "height": 5, "window_size": 50},
    "river.anomaly.LODA": {"n_random_cuts": 5},
    "river.anomaly.OneClassSVM": {"nu": 0.1},
    "river.anomaly.LocalOutlierFactor": {"n_neighbors": 5},
    "river.anomaly.PredictiveAnomalyDetection": {
        "predictive_model": {"river.time_series.SNARIMAX": {"p": 2, "d": 1, "q": 0}}
    },
    "river.preprocessing.StandardScaler | river.anomaly.OneClassSVM": {"OneClassSVM": {"nu": 0.2}},
}
LOUD = {"river.anomaly.StandardAbsoluteDeviation"}


def noise(seed: int, size: int) -> list[float]:
    source = random.Random(seed)
    return [source.gauss(100.0, 5.0) for _ in range(size)]


@pytest.mark.parametrize("name", RIVER)
def test_a_model_of_rivers_goes_on_from_its_state_to_the_last_bit(name):
    one = new_detector(name, RIVER[name])
    twin = new_detector(name, RIVER[name])
    for at, value in enumerate(noise(1, 120)):
        assert repr(one.judge_then_learn(value, at)) == repr(twin.judge_then_learn(value, at))
    resumed = new_detector(name, RIVER[name]).resume(one.state)
    for at, value in enumerate([*noise(2, 20), 300.0]):
        assert repr(one.judge_then_learn(value, at)) == repr(resumed.judge_then_learn(value, at))
    assert len(one.state) < 1 << 20


@pytest.mark.parametrize("name", sorted(LOUD))
def test_raw_scores_are_calibrated_so_that_one_is_anomalous(name):
    detector = new_detector(name, RIVER[name])
    scores = np.array([detector.judge_then_learn(value).score for value in noise(1, 1500)])
    assert np.count_nonzero(scores[200:] >= 1) <= 2
    assert detector.judge(300.0).score >= 1


def test_the_user_says_how_many_alerts_and_more_are_found_by_more():
    found = []
    for alerts in (0.2, 1.0, 20.0):
        detector = PeakRank(alerts=alerts)
        scores = [detector.judge_then_learn(value).score for value in noise(1, 2000)]
        found.append(sum(score >= 1 for score in scores))
    assert found[0] <= found[1] <= found[2]
    assert found[0] < found[2]


@pytest.mark.parametrize(
    ("name", "options", "fault"),
    [
        ("nope", {}, 'there is no detector "nope" (there are: peak_rank, robust_ewma'),
        ("river.anomaly.Nope", {}, 'River has no "river.anomaly.Nope"'),
        ("river.linear_model.LinearRegression", {}, "is no anomaly detector"),
        ("river.anomaly.LODA", {"cuts": 3}, "unexpected keyword argument 'cuts' (it takes: n_bins"),
        ("river.stats.Mean", {}, "is no"),
        ("peak_rank", {"width": 3}, "it takes: alerts"),
        (
            "river.preprocessing.StandardScaler | river.anomaly.LODA",
            {"Loda": {}},
            'no part of the pipeline is called "Loda"',
        ),
    ],
)
def test_what_is_wrong_is_named(name, options, fault):
    with pytest.raises(BadDetector) as caught:
        new_detector(name, options)
    assert fault in str(caught.value)


def test_an_unknown_feature_is_named():
    with pytest.raises(BadDetector, match='there is no feature "median"'):
        new_detector("river.anomaly.LODA", features=("value", "median"))


def test_a_detector_of_another_package_is_an_entry_point(monkeypatch):
    class Point:
        name, value = "theirs", "theirs.detectors:Theirs"

        def load(self) -> type:
            return RobustEwma

    monkeypatch.setattr("models.named.entry_points", lambda group: [Point()])
    assert isinstance(new_detector("theirs", {"width": 3}), RobustEwma)


class Trap:
    def __reduce__(self):
        return print, ("pwned",)


def test_a_state_that_names_what_is_no_model_is_refused(capsys):
    for trap in (Trap(), {"model": Trap()}):
        with pytest.raises(Untrusted, match=r"builtins\.print"):
            from_bytes(pickle.dumps(trap))
    with pytest.raises(Untrusted, match=r"(os|posix)\.system"):
        from_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert capsys.readouterr().out == ""


def test_features_say_what_they_are_called_after():
    features = Features(FEATURES)
    features.learn(10.0)
    found = features.of(15.0, 6 * 3600 * 10**9)  # six in the morning of a Thursday
    assert found["difference"] == 5.0
    assert found["ratio"] == pytest.approx(1 / 3)
    assert found["rolling_mean"] == 10.0
    assert (found["day_sine"], found["day_cosine"]) == pytest.approx((1.0, 0.0), abs=1e-12)
    week = 2 * np.pi * 3.25 / 7
    assert found["week_sine"] == pytest.approx(np.sin(week))
    assert found["week_cosine"] == pytest.approx(np.cos(week))


def test_a_calibration_ignores_what_is_no_number_and_what_a_model_says_before_it_says_anything():
    one, other = Calibration(1.0), Calibration(1.0)
    for raw in [0.0, 0.0, float("nan"), float("inf")]:
        one.learn(raw)
    for at in range(100):
        one.learn(1.0 + at % 5)
        other.learn(1.0 + at % 5)
    assert one.state == other.state
    assert one.score(float("nan")) == 0.0


@pytest.mark.parametrize("kind", [PeakRank, RobustEwma])
def test_rivers_own_checks_pass(kind, monkeypatch):
    # River would fetch data sets from the network: the same checks run on a stream of ours.
    values = noise(1, 60)
    values[40] = values[50] = 200.0
    stream = [
        ({"value": value, "time": 10**10 * at}, value == 200.0) for at, value in enumerate(values)
    ]
    monkeypatch.setattr(checks, "_yield_datasets", lambda model, scale=1: iter([list(stream)]))
    ran = []
    for check in checks.yield_checks(kind()):
        check(kind())
        ran.append(check)
    assert len(ran) >= 8
