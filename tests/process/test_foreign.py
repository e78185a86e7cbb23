"""Flags that people know from other servers are answered with ours."""

from __future__ import annotations

import re

import pytest

from qwire_server import settings
from qwire_server.errors import StartError
from qwire_server.settings import Settings, foreign

FLAGS = {f"--{name.replace('_', '-')}" for name in Settings.model_fields}


def told(*arguments: str) -> str:
    with pytest.raises(StartError) as refusal:
        settings.load(arguments)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_every_flag_that_is_named_is_a_setting():
    assert set(foreign.OURS.values()) <= FLAGS
    texts = [*foreign.LEAVE_OUT.values(), *foreign._NOTES.values(), foreign._DTYPES]
    assert set(re.findall(r"--[a-z-]+", " ".join(texts))) <= FLAGS
    assert set(foreign._NOTES) <= FLAGS


def test_no_flag_of_ours_is_taken_for_a_foreign_one():
    names = {flag.removeprefix("--") for flag in FLAGS}
    assert not names & (foreign.OURS.keys() | foreign.LEAVE_OUT.keys())
    assert not foreign.OURS.keys() & foreign.LEAVE_OUT.keys()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--port 8000", "`--port` is `--http-port` here (HTTP, gRPC has --grpc-port)"),
        ("--model_name_or_path=x", "`--model_name_or_path` is `--model` here"),
        ("--max-model-len 8192", "`--max-model-len` is `--max-tokens` here"),
        ("--is-embedding", "leave `--is-embedding` out: Qwire only embeds"),
        ("--trust-remote-code", "no code of a model's repository is ever run"),
        ("--dtype half", "`--dtype half` makes Qwen3-Embedding overflow"),
        ("--dtype=float16", "take `--dtype bfloat16` or `--dtype float32`"),
        ("Qwen/Qwen3-Embedding-0.6B", "--model Qwen/Qwen3-Embedding-0.6B"),
    ],
)
def test_a_foreign_flag_is_answered(arguments: str, said: str):
    assert said in told(*arguments.split())


def test_a_whole_foreign_command_is_answered_at_once():
    """As in `vllm serve`, `python -m sglang.launch_server`, `text-embeddings-router`."""
    said = told("Qwen/X", "--task", "embed", "--port", "8000", "--gpu-memory-utilization", "0.9")
    assert said.count(";") == 3
    for ours in ("--model Qwen/X", "`--task` out", "`--http-port`", "`--memory-limit`"):
        assert ours in said
    said = told("--model-path", "Qwen/X", "--is-embedding", "--tp", "2", "--context-length", "9")
    assert said.count(";") == 3
    said = told("--model-id", "Qwen/X", "--max-client-batch-size", "64", "--hf-token", "x")
    assert said.count(";") == 2
    assert "set HF_TOKEN" in said


def test_a_value_is_no_flag():
    assert settings.load(["--model", "port", "--host=task"]).model == "port"
