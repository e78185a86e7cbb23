"""Chooses the device and the dtype, and says why when the choice may surprise."""

from __future__ import annotations

import logging
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from qwire_server.errors import StartError
from qwire_server.model.errors import DeviceLost, OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOG = logging.getLogger("qwire.server")
_BF16_CAPABILITY = (8, 0)  # below it bf16 is emulated, and the packed kernel does not exist


def choose_device(wanted: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        StartError: there is no such device, or no GPU that works.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    index = None if wanted == "auto" else torch.device(wanted).index
    device = torch.device("cuda", index or 0)
    problem = _cuda_problem(device)
    if not problem:
        return device
    if wanted == "auto":
        if _gpu_is_present():
            _LOG.warning(
                "THIS MACHINE HAS A GPU THAT CANNOT BE USED, running on the CPU: %s", problem
            )
        return torch.device("cpu")
    raise StartError(f"--device {wanted}: {problem}")


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """bf16 where the device computes it faster, fp32 elsewhere, unless told."""
    if wanted != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wanted]
    fast = has_native_bf16(device) if device.type == "cuda" else cpu_has_bf16()
    return torch.bfloat16 if fast else torch.float32


def has_native_bf16(device: torch.device) -> bool:
    """By compute capability: `is_bf16_supported()` may say yes by emulation."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _BF16_CAPABILITY


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies matrices of bf16 itself; without, it is slower than fp32.

    False where this torch cannot tell.
    """
    told: dict[str, bool] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # not in every torch that is served
    return bool(told.get("amx_bf16") or told.get("avx512_bf16"))


def describe_device(device: torch.device) -> str:
    """A name for people: the GPU's model, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def check_memory(
    device: torch.device, dtype: str, needed: int, limit: int | None, *, taken: int = 0
) -> None:
    """Hold this process to `limit` bytes of `device`, and refuse weights that cannot fit.

    On a GPU the limit bounds all that torch allocates; on a CPU the weights only.

    Args:
        device: that the weights go to.
        dtype: of the weights, for the message.
        needed: bytes of the weights.
        limit: of `--memory-limit`; None for all that is free.
        taken: bytes of another model's weights that are on the device already.

    Raises:
        StartError: the weights alone need more.
    """
    if limit is not None and needed + taken > limit:
        beside = f" beside {_size(taken)} of the other model" if taken else ""
        raise StartError(
            f"the weights need {_size(needed)} in {dtype}{beside}, --memory-limit is "
            f"{_size(limit)}: raise it, {_smaller(dtype)}"
        )
    if device.type != "cuda":
        return
    free, total = torch.cuda.mem_get_info(device)
    if needed > free:
        raise StartError(
            f"the weights need {_size(needed)} in {dtype}, {device} has {_size(free)} free of "
            f"{_size(total)}: free some, choose another GPU with --device, {_smaller(dtype)}"
        )
    if limit is not None:
        torch.cuda.set_per_process_memory_fraction(min(limit / total, 1.0), device)


def describe_memory(device: torch.device, weights: int) -> str:
    """What the loaded model takes: on a GPU all that torch holds, on a CPU the weights."""
    if device.type == "cuda":
        return f"{_size(torch.cuda.memory_reserved(device))} of GPU memory"
    return f"{_size(weights)} of weights"


@contextmanager
def mapped_errors(device: torch.device) -> Iterator[None]:
    """Foreign errors by what helps. On CUDA anything but out-of-memory is sticky.

    An `OutOfMemory` holds no memory: smaller batches run while it is being handled.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        traceback.clear_frames(error.__traceback__)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" in str(error):
            traceback.clear_frames(error.__traceback__)
            raise OutOfMemory(str(error)) from error
        if device.type == "cuda":
            raise DeviceLost(str(error).splitlines()[0]) from error
        raise


def _size(num_bytes: int) -> str:
    gib = num_bytes / 2**30
    return f"{gib:.2f} GiB" if gib >= 1 else f"{gib * 1024:.1f} MiB"


def _smaller(dtype: str) -> str:
    half = "set --dtype bfloat16, which halves it, or " if dtype == "float32" else "or "
    return half + "serve a smaller model"


def _cuda_problem(device: torch.device) -> str:
    """Why this one cannot be used; empty if it can. Touches no other GPU."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA: install a CUDA build of torch"
    if not torch.cuda.is_available():
        return "torch finds no usable CUDA device: check `nvidia-smi` and the driver's version"
    if device.index >= torch.cuda.device_count():
        return f"this machine has {torch.cuda.device_count()} GPUs"
    try:
        torch.zeros(1, device=device).item()
    except RuntimeError as error:
        return f"the GPU does not work: {str(error).splitlines()[0]}"
    return ""


def _gpu_is_present() -> bool:
    return Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia/version").exists()
