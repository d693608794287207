"""Bounds of exponential buckets: right, and the same number at every scale."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.contracts.distributions import _TABLES, exponential_bounds


@given(scale=st.integers(-10, 20), index=st.integers(-(2**31), 2**31))
def test_a_bound_is_the_power_of_two_that_the_data_model_says(scale, index):
    exponent = Decimal(index) / Decimal(2) ** scale
    found = float(exponential_bounds(scale, index))
    if exponent >= 1024:
        assert found == np.inf
    elif exponent < -1075:
        assert found == 0
    else:
        with localcontext() as context:
            context.prec = 50
            expected = float(Decimal(2) ** exponent)
        assert abs(found - expected) <= 2 * np.spacing(expected)


@given(
    scale=st.integers(-10, 19),
    finer=st.integers(1, 30),
    index=st.integers(-(2**31), 2**31),
)
def test_a_bound_of_one_scale_is_bit_for_bit_one_of_every_finer_scale(scale, finer, index):
    finer = min(finer, 30 - scale, 20)
    assert exponential_bounds(scale, index) == exponential_bounds(scale + finer, index << finer)


@pytest.mark.parametrize("scale", [-2, 0, 3, 8, 20])
def test_bounds_rise_with_the_index(scale):
    near = 1 << max(scale, 0)
    bounds = exponential_bounds(scale, np.arange(-2 * near - 5, 2 * near + 5)[-3_000_000:])
    assert (np.diff(bounds) > 0).all()


def test_any_integers_at_all_have_a_bound():
    extremes = [-(2**63), -(2**31), -1, 0, 1, 2**31 - 1, 2**63 - 1]
    scales, indexes = np.meshgrid([-(2**31), -11, 0, 20, 31, 2**31 - 1], extremes)
    bounds = exponential_bounds(scales, indexes)
    assert not np.isnan(bounds).any()
    assert (bounds >= 0).all()


def test_the_tables_of_powers_are_correctly_rounded():
    for bits, table in zip((10, 20, 30), _TABLES, strict=True):
        with localcontext() as context:
            context.prec = 50
            expected = [float(Decimal(2) ** (Decimal(i) / (1 << bits))) for i in range(1 << 10)]
        assert table.tolist() == expected
