"""What people write under ``scoring.vectors``."""

import pytest
from pydantic import ValidationError

from flows.settings import Scoring
from flows.settings.vectors import SignalVector
from operators.scoring.signals import GOLDEN

MINUTE = 60 * 10**9


def test_golden_alone_is_enough() -> None:
    (vector,) = Scoring.model_validate({"vectors": ["golden"]}).vectors
    made = vector.vector(MINUTE)
    assert (made.name, made.by, made.window) == ("golden", ("service.name",), MINUTE)
    assert made.signals == GOLDEN
    assert made.above == ("errors", "duration", "saturation")


def test_signals_of_ones_own() -> None:
    made = SignalVector.model_validate(
        {
            "name": "queue", "by": ["service.name", "queue"], "window": "5m",
            "signals": {
                "depth": {"metric": "queue.depth", "take": "max"},
                "lost": [{"metric": "lost_total", "of": "sent_total", "take": "ratio"}],
            },
        }
    ).vector(MINUTE)  # fmt: skip
    assert made.window == 5 * MINUTE
    assert made.signals["lost"].selectors[0].of == "sent_total"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"name": "a"}, "none are given"),
        ({"name": "a", "signals": {"x": {"metric": "m", "take": "rate"}}}, "two at least"),
        ({"name": "golden", "detector": "nothing"}, 'no detector of vectors is called "nothing"'),
        ({"name": "golden", "options": {"fade": 1}}, "fade"),
        ({"name": "golden", "signals": {"x": {"metric": "m", "take": "p98"}}}, "can't be taken"),
        ({"name": "golden", "signals": {"x": {"metric": "(", "take": "rate"}}}, "metric"),
        ({"name": "golden", "signals": {"x": {"metric": "m", "take": "rate", "of": "n"}}}, "ratio"),
        ("silver", "valid"),
    ],
)
def test_what_is_wrong_is_said(given: object, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        SignalVector.model_validate(given)


def test_two_have_two_names() -> None:
    with pytest.raises(ValidationError, match='two vectors are called "golden"'):
        Scoring.model_validate({"vectors": ["golden", "golden"]})
