"""The distance of signals from what they usually are together."""

import doctest
import functools
import json
import math

import numpy as np
import pytest
from river import checks

from models import joint_distance
from models.joint_distance import JointDistance
from models.vector_model import new_vector_model


def vectors(seed: int, size: int) -> np.ndarray:
    dice = np.random.default_rng(seed)
    mixing = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.3, -0.4, 0.8]])
    return dice.normal(size=(size, 3)) @ mixing.T + [5.0, -2.0, 10.0]


def named(row: np.ndarray) -> dict[str, float]:
    return dict(zip("abc", row.tolist(), strict=True))


def trained(size: int = 4000, **given: float) -> JointDistance:
    model = JointDistance(**{"fading": 1e-9, "shrink": 0.0, "floor": 1e-9} | given)
    for row in vectors(1, size):
        model.learn_one(named(row))
    return model


def test_it_is_the_distance_of_mahalanobis_that_numpy_gives() -> None:
    """Of what was learned without forgetting or drawing much in, up to what was drawn in."""
    model, data = trained(), vectors(1, 4000)
    inverse, mean = np.linalg.inv(np.cov(data.T, ddof=0)), data.mean(axis=0)
    for row in vectors(2, 50):
        squares = (row - mean) @ inverse @ (row - mean)
        spread = 2 / 27  # Wilson and Hilferty, of three degrees of freedom
        expected = ((squares / 3) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
        assert model.score_one(named(row)) == pytest.approx(expected, abs=0.08)


def test_what_is_usual_has_the_scores_of_a_normal_deviate() -> None:
    model = trained()
    scores = [model.score_one(named(row)) for row in vectors(3, 4000)]
    assert np.mean(scores) == pytest.approx(0.0, abs=0.1)
    assert np.std(scores) == pytest.approx(1.0, abs=0.1)


def test_contributions_are_a_whole_and_name_the_one_that_is_off() -> None:
    model = trained()
    for row in vectors(4, 50):
        assert sum(model.contributions(named(row)).values()) == pytest.approx(1.0)
    for name in "abc":
        off = named(np.array([5.0, -2.0, 10.0]))
        off[name] += 8.0
        parts = model.contributions(off)
        assert max(parts, key=parts.__getitem__) == name


def test_what_is_expected_is_the_regression_on_the_others() -> None:
    model, data = trained(), vectors(1, 4000)
    others = np.column_stack([data[:, 1:], np.ones(len(data))])
    weights = np.linalg.lstsq(others, data[:, 0], rcond=None)[0]
    for row in vectors(5, 20):
        expected = float(np.append(row[1:], 1.0) @ weights)
        assert model.expected(named(row))["a"] == pytest.approx(expected, abs=0.05)


def test_one_that_is_missing_is_left_out() -> None:
    model = trained()
    of_two = JointDistance(fading=1e-9, shrink=0.0, floor=1e-9)
    for row in vectors(1, 4000):
        of_two.learn_one({name: value for name, value in named(row).items() if name != "b"})
    row = {"a": 7.0, "c": 8.0}
    assert model.score_one(row) == pytest.approx(of_two.score_one(row), abs=0.08)
    assert model.score_one(row | {"b": math.nan}) == model.score_one(row)
    assert set(model.contributions(row)) == {"a", "c"}


def test_what_is_only_better_is_no_fault() -> None:
    model = JointDistance(above=("a", "b", "c"))
    for row in vectors(1, 1000):
        model.learn_one(named(row))
    better = named(np.array([0.0, -8.0, 6.0]))
    assert model.score_one(better) < 1.0
    assert model.score_one({name: 2 * v0 - better[name] for name, v0 in
                            named(np.array([5.0, -2.0, 10.0])).items()}) > 3.0  # fmt: skip


def test_an_outlier_teaches_little() -> None:
    model = trained(1000, fading=1 / 1000)
    before = model.score_one({"a": 9.0, "b": -6.0, "c": 10.0})
    model.learn_one({"a": 1e6, "b": -1e6, "c": 1e6})
    after = model.score_one({"a": 9.0, "b": -6.0, "c": 10.0})
    assert after == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize("name", ["joint_distance", "river.anomaly.HalfSpaceTrees"])
def test_a_model_goes_on_from_its_state(name: str) -> None:
    one = new_vector_model(name, {}, ("a",), 43_200.0)
    for row in vectors(6, 600):
        one.learn(named(row))
    two = new_vector_model(name, {}, ("a",), 43_200.0).resume(one.state)
    for row in vectors(7, 60):
        assert one.score(named(row)) == two.score(named(row))
        one.learn(named(row))
        two.learn(named(row))
    assert json.dumps(one.contributions(named(row))) == json.dumps(two.contributions(named(row)))
    assert sum(one.contributions(named(row + 5.0)).values()) == pytest.approx(1.0)


def checks_of_rivers() -> list:
    """River's own, on vectors of ours where they would load a data set."""
    strange = [at > 40 and at % 20 == 0 for at in range(120)]
    data = [
        (named(row + np.array([4.0, -4.0, 4.0]) if is_strange else row), is_strange)
        for row, is_strange in zip(vectors(8, 120), strange, strict=True)
    ]
    found = []
    for check in checks.yield_checks(JointDistance()):
        if isinstance(check, functools.partial):
            found.append(functools.partial(check.func, dataset=data))
        else:
            found.append(check)
    return found


@pytest.mark.parametrize(
    "check", checks_of_rivers(), ids=lambda check: getattr(check, "func", check).__name__
)
def test_it_is_a_model_of_rivers(check) -> None:
    check(JointDistance())


def test_its_examples_run() -> None:
    found = doctest.testmod(joint_distance)
    assert found.attempted > 0
    assert found.failed == 0
