"""Which device and dtype are chosen, and what its errors mean; CUDA's part on any machine."""

from __future__ import annotations

import inspect
import logging
import weakref

import pytest
import torch

from qwire_server.errors import StartError
from qwire_server.model import device as devices
from qwire_server.model.attention import attend_sdpa, attend_varlen, varlen_kernel
from qwire_server.model.errors import DeviceLost, OutOfMemory
from qwire_server.model.forward import choose_attention

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def test_without_a_gpu_auto_is_the_cpu_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(devices, "_gpu_is_present", lambda: False)
    assert devices.choose_device("auto") == CPU
    assert not caplog.records


def test_a_gpu_that_cannot_be_used_is_a_loud_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(devices, "_gpu_is_present", lambda: True)
    assert devices.choose_device("auto") == CPU
    assert caplog.records[0].levelno == logging.WARNING
    assert "CANNOT BE USED" in caplog.text
    assert "install a CUDA build" in caplog.text


def test_a_gpu_that_was_asked_for_and_is_not_there_refuses_to_start(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(StartError, match=r"--device cuda:1: .*without CUDA"):
        devices.choose_device("cuda:1")


def test_no_gpu_is_touched_but_the_one_that_was_asked_for(monkeypatch: pytest.MonkeyPatch):
    """A process on the second of two must take no memory of the first."""
    touched: list[torch.device] = []

    def zeros(_: int, device: torch.device) -> torch.Tensor:
        touched.append(device)
        return torch.ones(1)

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "zeros", zeros)
    chosen = [devices.choose_device(wanted) for wanted in ("cuda:1", "cuda", "auto")]
    assert chosen == touched == [torch.device("cuda", 1), CUDA, CUDA]
    with pytest.raises(StartError, match="--device cuda:2: this machine has 2 GPUs"):
        devices.choose_device("cuda:2")
    assert len(touched) == 3


@pytest.mark.parametrize(
    ("capability", "dtype", "attend"),
    [
        ((7, 5), torch.float32, attend_sdpa),
        ((8, 0), torch.bfloat16, attend_varlen),
        ((9, 0), torch.bfloat16, attend_varlen),
    ],
)
def test_bfloat16_goes_by_compute_capability(
    monkeypatch: pytest.MonkeyPatch, capability, dtype, attend
):
    """`is_bf16_supported()` says yes below 8.0 too, by emulation."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert devices.choose_dtype("auto", CUDA) is dtype
    assert choose_attention(CUDA, dtype) is attend


def test_the_packed_kernel_is_called_as_this_torch_wants_it():
    kernel, extra = varlen_kernel()
    inspect.signature(kernel).bind(*range(7), scale=0.1, window_size=(-1, 0), **extra)


def test_float32_on_a_new_gpu_goes_through_sdpa(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert choose_attention(CUDA, devices.choose_dtype("float32", CUDA)) is attend_sdpa


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"avx2": True, "avx512_f": True}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True, "avx512_bf16": True}, torch.bfloat16),
    ],
)
def test_on_a_cpu_bfloat16_goes_by_the_instructions_it_has(
    monkeypatch: pytest.MonkeyPatch, capabilities, dtype
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert devices.choose_dtype("auto", CPU) is dtype
    assert devices.choose_dtype("float32", CPU) is torch.float32
    assert choose_attention(CPU, torch.bfloat16) is attend_sdpa


def test_a_torch_that_knows_no_capabilities_means_float32(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert devices.choose_dtype("auto", CPU) is torch.float32


@pytest.mark.parametrize(
    ("device", "raised", "meant"),
    [
        (CUDA, torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (CUDA, RuntimeError("CUDA error: device-side assert triggered\nmore"), DeviceLost),
        (
            CPU,
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            OutOfMemory,
        ),
        (CPU, MemoryError(), OutOfMemory),
        (CPU, RuntimeError("shapes do not match"), RuntimeError),
        (CUDA, ValueError("a bug of ours"), ValueError),
    ],
)
def test_foreign_errors_are_told_apart_by_what_helps(device, raised, meant):
    with pytest.raises(meant) as caught, devices.mapped_errors(device):
        raise raised
    assert type(caught.value) is meant


@pytest.mark.parametrize(
    "raised",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_what_ran_out_of_memory_holds_none_while_it_is_handled(raised):
    """Half the batch runs meanwhile: what the whole one had computed must be gone."""
    held: list[weakref.ref[torch.Tensor]] = []

    def forward() -> None:
        activations = torch.ones(3)
        held.append(weakref.ref(activations))
        raise raised

    with pytest.raises(OutOfMemory) as caught, devices.mapped_errors(CPU):
        forward()
    assert caught.value.__cause__ is raised
    assert held[0]() is None
