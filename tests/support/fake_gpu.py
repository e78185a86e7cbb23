"""A GPU's tensors on any machine: they have a shape, a type and a device, and no content.

What must know a value raises, because on a GPU it would wait for the device; so does what mixes
devices. On a machine with a GPU it is all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from qwire_server.model.attention import varlen_kernel
from qwire_server.model.opaque import attend_packed

GPU = torch.device("cuda", 0)
NO_CONTENT = FakeTensorMode(allow_non_fake_inputs=True)  # theirs to share: tensors know their mode


class Watched(TorchDispatchMode):
    """Writes down what touches the host. The packed operator does what it does on a GPU.

    Attributes:
        on_host: operations of tensors of the host.
        log: copies between the two, and what others write.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_host: list[str] = []
        self.log: list[str] = []

    def __torch_dispatch__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func is torch.ops.qwire.attend_packed.default:
            told = result
            with self, indexing():
                result = attend_packed._init_fn(*args)
            assert (told.shape, told.stride()) == (result.shape, result.stride())
            assert (told.dtype, told.device) == (result.dtype, result.device)
        tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, torch.Tensor)]
        devices = {t.device.type for t in tensors}
        if devices == {"cpu", "cuda"}:
            waits = not (kwargs.get("non_blocking") or args[2:] == (True,))
            self.log.append(f"waits for {func}" if waits else "copies")
        elif "cpu" in devices:
            self.on_host.append(str(func))
        return result


def strict_kernel(*args: Any, scale: float, window_size: tuple[int, int], **extra: bool) -> Any:
    """The packed kernel, with what it demands on a GPU only."""
    query, key, value, *offsets, most, most_keys = args
    for tensor in (query, key, value):
        assert tensor.dtype in {torch.bfloat16, torch.float16}
        assert (tensor.dtype, tensor.shape[2]) == (query.dtype, query.shape[2])
        assert (tensor.dim(), tensor.stride(2)) == (3, 1)
    assert key.shape == value.shape
    assert query.shape[1] % key.shape[1] == 0
    assert query.shape[2] in range(8, 257, 8)
    for each in offsets:
        assert each.dtype is torch.int32
        assert each.is_contiguous()
        assert each.shape == offsets[0].shape
    assert type(most) is type(most_keys) is int
    return varlen_kernel()[0](*args, scale=scale, window_size=window_size, **extra)


def move(modules: Iterable[torch.nn.Module]) -> None:
    """As `to(GPU)`, which refuses to replace what is real by what is not."""
    moved: dict[int, torch.Tensor] = {}
    for module in modules:
        for tensors in (module._parameters, module._buffers):
            for name, here in tensors.items():
                if here is not None:
                    tensors[name] = moved.setdefault(id(here), there(here))


def there(here: torch.Tensor) -> torch.Tensor:
    """One like it on the GPU."""
    with NO_CONTENT:
        made = torch.empty(here.shape, dtype=here.dtype, device=GPU)
    is_weight = isinstance(here, torch.nn.Parameter)
    return torch.nn.Parameter(made, requires_grad=False) if is_weight else made


def stand_in(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    """For CUDA's events and streams, which no machine without one has; they write into `log`."""

    class Event:
        def __init__(self, **kwargs: bool) -> None:
            assert kwargs["blocking"]
            self._recorded = False

        def record(self, stream: str | None = None) -> None:
            assert stream in {None, "current"}
            self._recorded = True
            log.append("records")

        def synchronize(self) -> None:
            if self._recorded:
                log.append("waits for an event")

        def elapsed_time(self, end: Event) -> float:
            return 1.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "current")
    monkeypatch.setattr(torch.cuda, "device", nullcontext)


def indexing() -> Any:
    """To be entered where a GPU's tensors are indexed or copied."""
    return nullcontext() if torch.version.cuda else _WithoutCuda()


_OPERATORS = {
    torch.Tensor.copy_: torch.ops.aten.copy_,
    torch.Tensor.contiguous: torch.ops.aten.contiguous,
}


class _WithoutCuda(TorchFunctionMode):
    """By operators what, by Python, needs a torch with CUDA."""

    def __torch_function__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__getitem__:
            return _indexed(*args)
        if func is torch.Tensor.__setitem__:
            return torch.ops.aten.copy_(_indexed(*args[:2]), torch.tensor(args[2]))
        return _OPERATORS.get(func, func)(*args, **(kwargs or {}))


def _indexed(tensor: torch.Tensor, index: Any) -> torch.Tensor:
    index = index if isinstance(index, tuple) else (index,)
    dim = 0
    for number, at in enumerate(index):
        if at is Ellipsis:
            dim = tensor.dim() - sum(i is not None for i in index[number + 1 :])
        elif at is None:
            tensor, dim = tensor.unsqueeze(dim), dim + 1
        elif isinstance(at, int):
            tensor = tensor.select(dim, at)
        elif isinstance(at, slice):
            start, stop, step = at.indices(tensor.shape[dim])
            tensor, dim = torch.ops.aten.slice(tensor, dim, start, stop, step), dim + 1
        else:
            tensor, dim = torch.ops.aten.index(tensor, [None] * dim + [at]), dim + 1
    return tensor
