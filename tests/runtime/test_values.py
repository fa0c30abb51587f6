"""Numbers in other widths: rounded as torch rounds, int8 within half a step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lehr.base.errors import LehrError
from lehr.runtime.values import dequantised, quantised, rounded, to_float32, width

ONE_ROW = np.zeros(1, dtype=np.int64)

single = st.floats(width=32)
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
usual = st.floats(2.0**-90, 2.0**100, width=32) | st.floats(-(2.0**100), -(2.0**-90), width=32) | st.just(0.0)


def f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_widths():
    assert [width(d) for d in ("F64", "F32", "F16", "BF16", "I64", "I8", "BOOL")] == [8, 4, 2, 2, 8, 1, 1]


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (0.0, 0x0000),
        (-0.0, 0x8000),
        (1.0, 0x3F80),
        (1.0 + 2**-8, 0x3F80),  # a tie goes to the even 1
        (1.0 + 3 * 2**-8, 0x3F82),  # and this one up
        (1.0 + 2**-8 + 2**-20, 0x3F81),
        (float("inf"), 0x7F80),
        (2**-133, 0x0001),  # the smallest
        (2**-134, 0x0000),
    ],
)
def test_bf16_by_hand(value, bits):
    assert rounded(f32(value), "F32", "BF16").tolist() == [bits]


@given(arrays.arrays(np.float32, st.integers(0, 20), elements=finite))
def test_bf16_is_rounded_as_torch_does(values):
    expected = torch.from_numpy(values.copy()).to(torch.bfloat16)
    if not expected.isfinite().all():
        with pytest.raises(LehrError, match="a weight is too large for BF16"):
            rounded(values, "F32", "BF16")
        return
    bits = rounded(values, "F32", "BF16")
    assert bits.tolist() == expected.view(torch.int16).numpy().view(np.uint16).tolist()
    assert to_float32(bits, "BF16").tolist() == expected.float().tolist()


@given(arrays.arrays(np.float32, st.integers(0, 20), elements=finite))
def test_fp16_is_rounded_as_torch_does(values):
    expected = torch.from_numpy(values.copy()).half()
    if not expected.isfinite().all():
        with pytest.raises(LehrError, match="a weight is too large for F16"):
            rounded(values, "F32", "F16")
        return
    assert rounded(values, "F32", "F16").tobytes() == expected.numpy().tobytes()


@pytest.mark.parametrize("target", ["F16", "BF16", "F64"])
def test_what_is_not_finite_stays_so(target):
    back = to_float32(rounded(f32(np.nan, np.inf, -np.inf, -np.nan), "F32", target), target)
    assert np.isnan(back[[0, 3]]).all()
    assert back[1:3].tolist() == [np.inf, -np.inf]


@given(st.integers(0, 2**16 - 1), st.sampled_from(["F32", "F64"]))
def test_a_wider_dtype_and_back_is_the_same(bits, wide):
    there = rounded(np.array([bits], dtype=np.uint16), "BF16", wide)
    back = rounded(there, wide, "BF16")[0]
    assert back == bits or (np.isnan(there[0]) and back == bits | 0x40)


@given(arrays.arrays(np.float32, 4, elements=single))
def test_the_same_dtype_is_not_touched(values):
    assert rounded(values, "F32", "F32") is values


def test_int8_by_hand():
    # s = 1.27 / 127 = 0.01, in bf16 rounded up 0x3C24 = 0.010009765625
    q, scales = quantised(f32(1.27, -0.5, 0.004, 0.0), ONE_ROW.repeat(4), 1)
    assert scales.tolist() == [0x3C24]
    assert q.tolist() == [127, -50, 0, 0]
    assert dequantised(q, scales, ONE_ROW.repeat(4)).tolist() == [
        127 * 0.010009765625,
        -50 * 0.010009765625,
        0.0,
        0.0,
    ]


def test_each_row_has_its_own_scale():
    q, scales = quantised(f32(127, 1, 254, 2), np.array([0, 0, 1, 1]), 2)
    assert to_float32(scales, "BF16").tolist() == [1.0, 2.0]
    assert q.tolist() == [127, 1, 127, 1]


@given(st.lists(st.tuples(st.integers(0, 3), usual), max_size=30))
def test_int8_errs_by_half_a_step_at_most(pairs):
    rows = np.unique([row for row, _ in pairs], return_inverse=True)[1].astype(np.int64)
    values = f32(*(value for _, value in pairs))
    q, scales = quantised(values, rows, int(rows.max(initial=-1)) + 1)
    steps = to_float32(scales, "BF16").astype(np.float64)[rows]
    error = np.abs(dequantised(q, scales, rows).astype(np.float64) - values)
    assert (error <= 0.5 * steps * (1 + 1e-5)).all()
    assert (np.abs(q) <= 127).all()


def test_rows_of_zeros_are_zeros():
    q, scales = quantised(f32(0, 0, 127), np.array([0, 0, 1]), 2)
    assert (q.tolist(), scales.tolist()) == ([0, 0, 127], [0, 0x3F80])
    assert dequantised(q, scales, np.array([0, 0, 1])).tolist() == [0.0, 0.0, 127.0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_int8_has_no_code_for_what_is_not_finite(value):
    with pytest.raises(LehrError, match="a weight is not finite and has no int8: choose other values"):
        quantised(f32(1, value), ONE_ROW.repeat(2), 1)


def test_int8_of_the_smallest_numbers_errs_by_half_a_step_too():
    q, scales = quantised(f32(1e-38), ONE_ROW, 1)
    assert abs(float(dequantised(q, scales, ONE_ROW)[0]) - 1e-38) <= 0.5 * float(to_float32(scales, "BF16")[0])
