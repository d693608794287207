"""The bench of lines of spans measures each step."""

from bench.log_spans import measure


def test_it_says_what_each_step_takes():
    found = measure(2_000, spans=True, rate=1_000)
    assert list(found) == ["decoding", "reading", "changes"]
    assert all(seconds > 0 for seconds in found.values())
