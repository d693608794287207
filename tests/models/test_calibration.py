"""What the slider promises holds over noise, for any length of windows, from the first day on."""

import pytest

from bench.calibration import NOISES, false_alerts

# Window (seconds), days, series of each noise, setting.
CASES = [
    (10, 1, 8, 1.0), (10, 1, 8, 5.0), (60, 1, 30, 5.0), (60, 15, 2, 2.0), (300, 30, 3, 1.0),
    (300, 30, 3, 5.0), (900, 30, 6, 2.0),
]  # fmt: skip


@pytest.mark.parametrize(("window", "days", "series", "alerts"), CASES)
def test_noise_gives_no_more_alerts_than_are_put_up_with(window, days, series, alerts):
    fired = sum(false_alerts(noise, window, days, alerts, series) for noise in NOISES)
    put_up_with = alerts * days / 30 * series * len(NOISES)
    # As many come by chance: a Poisson number is beyond two deviations once in some fifty.
    assert fired <= put_up_with + 2 * put_up_with**0.5


@pytest.mark.parametrize("window", [10, 900])
def test_a_louder_setting_finds_more(window):
    days = 2 if window == 10 else 30
    fired = [
        sum(false_alerts(noise, window, days, alerts, 3) for noise in NOISES)
        for alerts in (0.5, 30.0)
    ]
    assert fired[0] < fired[1]
