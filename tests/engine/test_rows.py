"""Cut, normalise, encode: by the definitions in proto/qwire/v1/embedding.proto."""

from __future__ import annotations

import numpy as np
import pytest

from qwire_server.engine.rows import encode, finish, finite, row_bytes
from qwire_server.engine.work import Encoding, RowForm

POOLED = np.random.default_rng(1).normal(size=(5, 33)).astype(np.float32)


def test_rows_are_cut_before_they_are_normalised():
    rows = finish(POOLED, RowForm(10))
    expected = POOLED[:, :10] / np.linalg.norm(POOLED[:, :10], axis=1, keepdims=True)
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_without_normalising_rows_are_only_cut():
    np.testing.assert_array_equal(finish(POOLED, RowForm(10, normalize=False)), POOLED[:, :10])


def test_a_zero_row_stays_zero_and_finite():
    assert finish(np.zeros((1, 4), np.float32), RowForm(4)).tolist() == [[0, 0, 0, 0]]


def test_huge_values_are_normalised_without_overflow():
    rows = finish(np.full((1, 4), 3e38, np.float32), RowForm(4))
    np.testing.assert_allclose(rows, [[0.5] * 4], atol=1e-6)


def test_nan_and_infinity_are_not_finite():
    rows = np.array([[1, np.nan], [1, np.inf], [1, 2]], np.float32)
    assert finite(rows).tolist() == [False, False, True]


def test_float32_is_little_endian_row_major():
    rows = encode(POOLED, Encoding.FLOAT32)
    np.testing.assert_array_equal(np.frombuffer(rows.data, "<f4").reshape(5, 33), POOLED)


def test_float16_is_rounded_and_saturates():
    data = np.frombuffer(encode(np.array([[1e9, 0.1]], np.float32), Encoding.FLOAT16).data, "<f2")
    assert data[0] == 65504
    assert data[1] == np.float16(0.1)


def test_int8_comes_back_within_half_a_step():
    rows = encode(POOLED, Encoding.INT8)
    steps = np.frombuffer(rows.data, np.int8).reshape(5, 33)
    scales = np.frombuffer(rows.scales, "<f4")
    np.testing.assert_allclose(scales, np.abs(POOLED).max(axis=1) / 127, rtol=1e-6)
    error = np.abs(steps * scales[:, None] - POOLED)
    assert (error <= scales[:, None] * 0.5001).all()


def test_int8_of_a_zero_row_has_scale_zero():
    rows = encode(np.zeros((1, 3), np.float32), Encoding.INT8)
    assert (rows.data, rows.scales) == (b"\0\0\0", b"\0\0\0\0")


def test_binary_has_one_bit_a_value_most_significant_first():
    row = np.array([[1, -1, 0, 2, -3, 1, 1, 1, 5]], np.float32)
    assert encode(row, Encoding.BINARY).data == bytes([0b10010111, 0b10000000])


@pytest.mark.parametrize("encoding", Encoding)
def test_row_bytes_tells_the_size_of_each_encoding(encoding: Encoding):
    form = RowForm(33, encoding=encoding)
    assert len(encode(POOLED, encoding).data) == 5 * row_bytes(form)


@pytest.mark.parametrize("encoding", Encoding)
def test_no_rows_are_no_bytes(encoding: Encoding):
    assert encode(POOLED[:0], encoding).data == b""
