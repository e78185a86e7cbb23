"""A model is compared with itself, run by transformers, before anybody is served."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from qwire_server.errors import ModelError
from qwire_server.load_reranker import load_reranker
from qwire_server.model import attention, forward, runner
from qwire_server.settings import Settings
from support import local
from support.models import tiny_qwen3
from support.rerankers import tiny_reranker


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_qwen3(tmp_path_factory.mktemp("model") / "tiny-qwen3")


@pytest.fixture(scope="module")
def rank_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_reranker(tmp_path_factory.mktemp("model") / "tiny-reranker")


def leaks(query, key, value, packed, *, causal, scale):
    """Attends to the texts before, as if the batch were one text."""
    whole = replace(packed, groups=[(0, 1, len(query))])
    return attention.attend_sdpa(query, key, value, whole, causal=causal, scale=scale)


def sees_the_future(query, key, value, packed, *, causal, scale):
    return attention.attend_sdpa(query, key, value, packed, causal=not causal, scale=scale)


def gives_nan(query, key, value, packed, *, causal, scale):
    return torch.full_like(query, torch.nan)


BROKEN = [leaks, sees_the_future, gives_nan]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_sound_model_is_told_by_its_lowest_cosine(folder: Path, dtype: str):
    checked = local.load(folder, dtype=dtype).served.checked
    assert checked
    assert checked.dtype == dtype
    assert checked.texts >= 5
    assert (0.99999 if dtype == "float32" else 0.999) <= checked.lowest_cosine <= 1.001


@pytest.mark.parametrize("attend", BROKEN)
def test_a_model_whose_attention_is_broken_is_not_served(
    folder: Path, monkeypatch: pytest.MonkeyPatch, attend
):
    monkeypatch.setattr(forward, "choose_attention", lambda *_: attend)
    with pytest.raises(ModelError, match=r"lowest cosine .* at least 0.99999 .* --compile off"):
        local.load(folder, prefix_cache="off")


@pytest.mark.parametrize("attend", BROKEN)
def test_nor_is_a_reranker(rank_folder: Path, monkeypatch: pytest.MonkeyPatch, attend):
    monkeypatch.setattr(forward, "choose_attention", lambda *_: attend)
    settings = Settings(
        model="none", reranker=str(rank_folder), device="cpu", dtype="float32", prefix_cache="off"
    )
    with pytest.raises(ModelError, match="lowest cosine"):
        load_reranker(settings)


def test_what_only_batches_with_a_kept_prefix_take_is_checked_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    broken = attention._attend_after

    def first_only(query, key, value, before, *, scale, grouped):
        return broken(
            query, key[:, :, before:], value[:, :, before:], 0, scale=scale, grouped=grouped
        )

    monkeypatch.setattr(attention, "_attend_after", first_only)
    assert local.load(folder, prefix_cache="off").served.checked
    with pytest.raises(ModelError, match="lowest cosine"):
        local.load(folder)


def test_what_only_compiled_batches_take_is_checked_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    class Half(forward.Forward):
        def __call__(self, packed):
            return super().__call__(packed).flip(0)  # rows in the wrong order

    monkeypatch.setattr(forward, "make_forward", lambda model, head, **_: Half(model, head))
    with pytest.raises(ModelError, match="lowest cosine"):
        local.load(folder)


def test_the_model_is_left_as_it_was(folder: Path):
    """Transformers' own attention was in it for a while; what is served is ours."""
    loaded = local.load(folder)
    assert isinstance(loaded.runner, runner.PackedRunner)
    assert loaded.runner._model.config._attn_implementation == attention.NAME


BREAK_AND_SERVE = """
import runpy, sys, torch
from qwire_server.model import forward
forward.choose_attention = lambda *_: lambda query, *_, **__: torch.zeros_like(query)
runpy.run_module("qwire_server", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_such_a_server_exits_with_2_and_one_line_and_was_never_ready(folder: Path):
    command = [sys.executable, "-c", BREAK_AND_SERVE, "--model", str(folder), "--grpc-port", "0"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("QWIRE_")}
    done = subprocess.run(
        [*command, "--http-port", "off"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert " ready: " not in done.stderr
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("qwire serve: ")]
    assert "self-check" in said
