"""The suite runs and its tables say what was measured. No figure of a machine is tested here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.chinese import translated
from benchmarks.shapes import QWEN3
from benchmarks.suite import gpu, table
from benchmarks.suite.measure import steady
from benchmarks.suite.workloads import BULK, LOG_NORMAL, uniform

from support.machine_speed import hang_limit

ROOT = Path(__file__).parents[2]
MODULE = "benchmarks.suite"


def run(*arguments: str, timeout: float) -> str:
    """Run from the root, as `make bench-cpu` does; what was printed."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def bench(folder: Path, *arguments: str, timeout: float) -> tuple[Path, dict, str]:
    """The file, its content, and the tables that were printed."""
    printed = run(MODULE, "--quick", "--out", str(folder), *arguments, timeout=timeout)
    (path,) = folder.glob("*-quick.json")
    return path, json.loads(path.read_text("utf-8")), printed


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.timeout(500)
def test_a_stream_beside_its_bare_forward(tmp_path: Path):
    """A real server, a generator and a bare forward, each a process; tables from the file alone."""
    arguments = ["--model", "demo", "--only", "uniform-16", "idle", "--peers"]
    path, result, printed = bench(tmp_path, *arguments, timeout=hang_limit(490))
    model = result["models"]["demo"]
    assert not model["left_out"]
    cell = model["cells"]["uniform-16"]
    served = cell["served"]
    assert served["tokens"] == 16 * served["texts"] == served["server"]["tokens"]
    assert cell["of_product"] > 0
    assert cell["of_bare"] > 0
    assert run(f"{MODULE}.table", str(path), timeout=hang_limit(100)).strip() == printed.strip()
    assert "mean nothing" in printed, "figures of quick sizes are no figures"
    assert "设备" in run(f"{MODULE}.table", "--readme-zh", str(path), timeout=hang_limit(100))


@pytest.mark.timeout(200)
def test_what_the_time_does_not_suffice_for_is_named(tmp_path: Path):
    """Nothing is started for it."""
    _, result, printed = bench(
        tmp_path, "--model", "demo", "--minutes", "0", timeout=hang_limit(190)
    )
    model = result["models"]["demo"]
    assert not model["cells"]
    assert {"start", "uniform-16", "beside-bulk", "callers"} <= set(model["left_out"])
    assert all(name in printed for name in model["left_out"])


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.timeout(900)
def test_all_cells_of_a_shaped_model(tmp_path: Path):
    """All but Infinity, which needs an environment of its own; everything has words in Chinese."""
    path, result, _ = bench(tmp_path, "--minutes", "60", timeout=hang_limit(880))
    model = result["models"]["0.6B"]
    assert not model["left_out"]
    assert {cell["kind"] for cell in model["cells"].values()} >= {
        "start",
        "stream",
        "agreement",
        "idle",
        "callers",
        "beside",
    }
    assert min(v for k, v in model["cells"]["agreement"].items() if k in {"served", "st"}) > 0.9999
    assert run(f"{MODULE}.table", "--readme-zh", str(path), timeout=hang_limit(100))


@pytest.mark.parametrize(
    ("name", "flag"), [("README.md", "--readme"), ("README.zh-CN.md", "--readme-zh")]
)
def test_a_table_of_the_suite_in_a_readme_is_made_from_its_result(name: str, flag: str):
    readme = (ROOT / name).read_text("utf-8")
    for path in re.findall(r"benchmarks/results/[\w.-]+-suite-[\w.-]+\.json(?= -->)", readme):
        assert run(f"{MODULE}.table", flag, path, timeout=hang_limit(100)) in readme


def test_the_clock_runs_from_the_end_of_a_burst():
    """Batches of 100 tokens, one a second, each in two answers: 100 tokens a second, exactly."""
    answers = [(second + part, 50) for second in range(20) for part in (0.0, 0.01)]
    assert steady(answers, 20) == pytest.approx(100)


def test_the_clock_leaves_out_how_a_stream_begins():
    """Ten seconds for the first batch, of which there are twenty."""
    answers = [(10.0 + second, 100) for second in range(20)]
    assert steady([(0.0, 1), *answers], 21) == pytest.approx(100)


def test_answers_that_come_without_a_pause_have_a_rate_too():
    assert steady([(tick / 100, 1) for tick in range(100)], 3) == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("workload", [uniform(16), LOG_NORMAL, BULK], ids=lambda w: w.name)
def test_texts_have_the_tokens_that_their_workload_says(workload):
    """Counted by the tokenizer that the shaped models have."""
    tokenizer = pytest.importorskip("benchmarks.tokenizer").train()
    counted = [len(each.ids) for each in tokenizer.encode_batch(workload.texts(300))]
    assert counted == workload.lengths(300)
    assert workload.texts(20) == workload.texts(300)[:20]


@pytest.mark.parametrize(
    ("size", "length", "gigaflops"),
    [("0.6B", 512, 0.940), ("4B", 1, 7.267), ("8B", 8192, 16.31)],
)
def test_the_arithmetic_of_a_token(size: str, length: int, gigaflops: float):
    """Weights that are multiplied, twice, and half of attention's square."""
    assert QWEN3[size].flops([length]) / length / 1e9 == pytest.approx(gigaflops, rel=1e-3)


def test_samples_of_a_gpu_that_are_not_whole_are_left_out():
    lines = "1980, 412.50, 61, 98\n[N/A], 1, 2, 3\n1500, 400.00, 60, 90\n19"
    assert gpu.summary(lines)["sm_mhz"] == {"median": 1740, "max": 1980}
    assert gpu.summary("") == {}


def test_everything_that_a_table_says_has_chinese_words():
    """Made up: one cell of each kind, on a GPU and beside Infinity."""
    ms = {"p50": 1.0, "p99": 2.0}
    workload = {"tokens": 50, "least": 0, "most": 0, "queries": False, "prompt": 0}
    called = {"callers": 64, "texts_per_call": 1, "texts_per_second": 99.0, "ms": ms}
    server = {"starved": 0.01, "batch_fill": 0.9}
    rates = {"tokens_per_second": 1e5, "texts_per_second": 1e3, "server": server}
    stream = {
        "kind": "stream",
        "served": rates,
        "of_bare": 0.9,
        "of_product": 0.4,
        "st_best": {"dtype": "bfloat16"},
        "over": {"st_arrival": 2.0, "st_best": 1.5},
    }
    questions = {"questions": 100, "first_ms": 3.0, "last_ms": 2.0}
    started = {"cold_seconds": 60.0, "cold": questions, "warm_seconds": 9.0, "warm": questions}
    computed = {**rates, "bare": {"computed_per_text": 9.5}}
    cells = {
        "a": {**stream, "workload": workload},
        "b": {**stream, "workload": {**workload, "most": 512}},
        "c": {**stream, "workload": {**workload, "queries": True, "prompt": 18}},
        "idle": {"kind": "idle", **dict.fromkeys(("ms", "client_ms", "bare_ms", "nothing_ms"), ms)},
        "callers": {
            "kind": "callers",
            **dict.fromkeys(("single", "batch"), called),
            "infinity": {"version": "0.0.78", "single": called, "batch": called},
        },
        "beside": {
            "kind": "beside",
            "workload": workload,
            "rate": 50,
            "alone": {"bulk_tokens_per_second": 1e5},
            "beside": {"ms": ms},
            "bulk_kept": 0.9,
        },
        "reuse": {
            "kind": "reuse",
            "with": computed,
            "without": computed,
            "largest_difference": 1e-7,
        },
        "start": {"kind": "start", **started},
    }
    model = {
        "title": "Qwen3-Embedding-0.6B shape, 2 of 28 layers, random weights",
        "cells": cells,
        "about": {"dtype": "bfloat16", "batch_tokens": 16384},
        "products": {"4096": 7e14},
    }
    packages = ("python", "torch", "transformers", "sentence-transformers", "grpcio")
    about = {
        "date": "2026-11-22T12:00:00",
        "gpu": {"name": "NVIDIA H200", "driver": "580.1"},
        "machine": {"processor": "Xeon", "cores": 16, "used_by_others": 0.01},
        "versions": dict.fromkeys(packages, "1.2"),
        "commit": "0123456789ab",
        "quick": False,
    }
    english = table.summary({"about": about, "models": {"0.6B": model}})
    assert re.search("[一-鿿]", translated(english))
    figure = re.compile(r"\d+(?:[.,]\d+)*")
    assert sorted(figure.findall(translated(english))) == sorted(figure.findall(english))
