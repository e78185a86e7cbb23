"""Buffers on the way to the device and back; the same code as on a GPU, without pinning."""

from __future__ import annotations

import numpy as np
import torch

from qwire_server.model.packing import pack
from qwire_server.model.staging import Staging

CPU = torch.device("cpu")


def batch(lengths, start=1):
    return pack([np.arange(start, start + n, dtype=np.int32) for n in lengths], CPU)


def test_a_staged_batch_is_the_batch():
    packed = batch([3, 1, 7])
    staged = Staging(CPU).stage(packed)
    for name in ("ids", "positions", "offsets"):
        there, here = getattr(staged, name), getattr(packed, name)
        assert there.dtype == here.dtype
        assert torch.equal(there, here)
    assert (staged.max_length, staged.groups) == (packed.max_length, packed.groups)
    assert staged.order is packed.order


def test_what_goes_to_the_device_goes_in_one_piece_of_aligned_parts():
    staged = Staging(CPU).stage(batch([3, 2]))
    tensors = [staged.ids, staged.positions, staged.offsets]
    assert len({t.untyped_storage().data_ptr() for t in tensors}) == 1
    assert all(t.storage_offset() * t.element_size() % 16 == 0 for t in tensors)


def test_batches_that_were_staged_stay_as_they_are():
    """More of them than there are buffers, of growing and of shrinking sizes."""
    staging = Staging(CPU, depth=2)
    lengths = [[4], [900, 2], [3], [5] * 50, [1]]
    staged = [staging.stage(batch(ls, start=i)) for i, ls in enumerate(lengths)]
    for i, (there, ls) in enumerate(zip(staged, lengths, strict=True)):
        assert torch.equal(there.ids, batch(ls, start=i).ids)


def test_rows_come_back_in_the_order_of_the_batch():
    rows = torch.arange(6.0).view(3, 2)
    fetched = Staging(CPU).fetch(rows, np.array([2, 0, 1]))
    assert fetched.wait().tolist() == [[2, 3], [4, 5], [0, 1]]


def test_rows_that_were_waited_for_are_the_callers_own():
    staging = Staging(CPU)
    order = np.array([0, 1])
    first = staging.fetch(torch.ones(2, 3), order).wait()
    staging.fetch(torch.zeros(2, 3), order).wait()
    assert first.tolist() == np.ones((2, 3)).tolist()


def test_rows_that_wait_are_not_overwritten_and_their_buffers_are_used_again():
    staging = Staging(CPU)
    order = np.array([0])
    flying = [staging.fetch(torch.full((1, 4), float(i)), order) for i in range(5)]
    assert [float(f.wait()[0, 0]) for f in flying] == [0, 1, 2, 3, 4]
    assert repr(staging) == "<Staging cpu 3 out, 5 free back>"
    staging.fetch(torch.zeros(1, 4), order).wait()
    assert repr(staging) == "<Staging cpu 3 out, 5 free back>"
