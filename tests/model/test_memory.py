"""What the weights take is known before they are loaded; CUDA's part on any machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from qwire_server import settings
from qwire_server.checkpoint import layout
from qwire_server.checkpoint.weight_files import weight_bytes, weight_files
from qwire_server.errors import ModelError, StartError
from qwire_server.model import device as devices
from qwire_server.model import weights
from qwire_server.settings import Settings
from support import local

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
GIB = 2**30


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_headers_tell_what_the_loaded_weights_take(qwen_folder: Path, dtype: torch.dtype):
    model = weights.load(qwen_folder, layout.read(qwen_folder), CPU, dtype)
    loaded = sum(p.numel() * p.element_size() for p in model.parameters())
    assert weight_bytes(weight_files(qwen_folder), dtype.itemsize) == loaded


def test_a_file_that_is_not_safetensors_is_named(tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(b"\x09\0\0\0\0\0\0\0not JSON")
    with pytest.raises(ModelError, match=r"model\.safetensors is not a readable safetensors file"):
        weight_files(tmp_path)


@pytest.mark.parametrize(
    ("said", "meant"), [("8GiB", 8 * GIB), ("12G", 12_000_000_000), ("500MB", 500_000_000)]
)
def test_a_limit_has_a_unit(said: str, meant: int):
    assert Settings(memory_limit=said).memory_limit == meant


@pytest.mark.parametrize("said", ["50%", "0.9", "8", "all", "-1GiB", "0GiB"])
def test_a_share_or_a_bare_number_is_refused(said: str):
    with pytest.raises(StartError, match=rf"--memory-limit: .*\(got '{said}'\)"):
        settings.load([f"--memory-limit={said}"])


def test_weights_over_the_limit_are_refused_with_both_numbers_and_a_way_out(qwen_folder: Path):
    with pytest.raises(StartError) as refusal:
        local.load(qwen_folder, memory_limit="100kB")
    said = str(refusal.value)
    assert "MiB in float32, --memory-limit is 0.1 MiB" in said
    assert "--dtype bfloat16" in said


def test_under_the_limit_the_model_loads_and_says_what_it_takes(qwen_folder: Path):
    loaded = local.load(qwen_folder, memory_limit="1GiB")
    assert re.fullmatch(r"0\.\d MiB of weights", loaded.memory)
    assert loaded.load_seconds > 0


class TestCuda:
    """The few lines that ask CUDA, against what torch documents."""

    @pytest.fixture(autouse=True)
    def gpu(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """A GPU with 10 of 16 GiB free; the fractions it was held to."""
        fractions: list[float] = []
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * GIB, 16 * GIB))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 3 * GIB)
        monkeypatch.setattr(
            torch.cuda, "set_per_process_memory_fraction", lambda part, _: fractions.append(part)
        )
        return fractions

    def test_the_limit_is_a_part_of_the_whole_gpu(self, gpu: list[float]):
        devices.check_memory(CUDA, "bfloat16", GIB, 8 * GIB)
        devices.check_memory(CUDA, "bfloat16", GIB, 32 * GIB)
        devices.check_memory(CUDA, "bfloat16", GIB, None)
        assert gpu == [0.5, 1.0]

    def test_weights_beyond_what_is_free_are_refused(self):
        said = r"need 11\.00 GiB in bfloat16, cuda:0 has 10\.00 GiB free of 16\.00 GiB: free some"
        with pytest.raises(StartError, match=said):
            devices.check_memory(CUDA, "bfloat16", 11 * GIB, None)

    def test_what_torch_holds_is_told(self):
        assert devices.describe_memory(CUDA, GIB) == "3.00 GiB of GPU memory"


HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
TOUCHES = """
import re
from qwire_server.model import packing
import torch
held = torch.zeros(64 * 2**20, dtype=torch.uint8).fill_(1)
said = open("/proc/self/smaps_rollup").read()
print(re.search(r"AnonHugePages: *(\\d+) kB", said)[1])
"""


@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[never]" in HUGE_PAGES.read_text(),
    reason="the kernel gives no huge pages",
)
def test_what_the_device_code_asks_for_comes_in_huge_pages():
    told = subprocess.run(
        [sys.executable, "-c", TOUCHES], capture_output=True, text=True, check=True
    )
    assert int(told.stdout) >= 32 * 1024
