"""The benchmarks run, and their tables say what was measured. No figure is tested here."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import scale
from support.machine_speed import hang_limit

ROOT = Path(__file__).parents[2]


def run(*arguments: str, timeout: float) -> str:
    """Run from the root, as `make bench` does; what was printed."""
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


def bench(folder: Path, *parts: str, timeout: float) -> tuple[dict, str]:
    """The result in JSON, and the table that was printed."""
    arguments = ["--quick", "--only", *parts, "--out", str(folder)]
    printed = run("benchmarks", *arguments, timeout=timeout)
    (path,) = folder.glob("*-quick.json")
    return json.loads(path.read_text("utf-8")), printed


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_the_parts_without_a_model(tmp_path: Path):
    """A real server around a free model, a long stream, the formats; and the table made again."""
    result, printed = bench(tmp_path, "free", "formats", timeout=hang_limit(80))
    assert set(result["free"]["texts_per_second"]) == set(result["words"]["free"])
    assert set(result["formats"]["formats"]) == set(result["words"]["formats"])
    assert result["free"]["long_stream"]["memory_mb_growth"]["server"] < 50
    assert result["formats"]["formats"]["float32"]["smallest_cosine"] == 1
    (path,) = tmp_path.glob("*.json")
    assert run("benchmarks.table", str(path), timeout=hang_limit(10)) in printed
    assert "mean nothing" in printed, "figures of quick sizes are no figures"


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_the_http_routes_beside_grpc(tmp_path: Path):
    """Every way gives every vector; the figures of so few calls mean nothing."""
    printed = run(
        "benchmarks.http",
        "--rounds",
        "1",
        "--calls",
        "1",
        "--out",
        str(tmp_path),
        timeout=hang_limit(80),
    )
    (path,) = tmp_path.glob("*-http.json")
    result = json.loads(path.read_text("utf-8"))
    assert set(result["texts_per_second"]) == set(result["words"])
    assert all(words in printed for words in result["words"].values())


@pytest.mark.timeout(90)
def test_a_result_tells_neither_paths_nor_host_names(tmp_path: Path):
    """It may be published."""
    bench(tmp_path, "formats", timeout=hang_limit(80))
    (path,) = tmp_path.glob("*.json")
    text = path.read_text("utf-8")
    assert str(ROOT) not in text
    assert f'"{socket.gethostname()}"' not in text


def test_the_page_about_several_servers_has_the_figures_of_the_run_that_it_names():
    page = (ROOT / "docs/which.md").read_text("utf-8")
    (path,) = re.findall(r"results/([\w-]+-scale\.json)", page)
    result = json.loads((ROOT / "benchmarks/results" / path).read_text("utf-8"))
    assert scale.table(result) in page
    assert f"{result['about']['seconds_per_text'] * 1000:g} ms a text" in page


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_several_servers_are_compared(tmp_path: Path):
    """Every way is answered by one server and by two."""
    arguments = ("--seconds", "0.01", "--time", "0.5", "--servers", "1", "2")
    printed = run("benchmarks.scale", *arguments, "--out", str(tmp_path), timeout=hang_limit(80))
    (path,) = tmp_path.glob("*-scale.json")
    result = json.loads(path.read_text("utf-8"))
    assert set(result["servers"]) == {"1", "2"}
    assert all(
        rate > 0 for way in result["servers"].values() for rate in (way["single"], way["list"])
    )
    assert "| 2 | " in printed


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_streams_of_both_contracts_are_compared(tmp_path: Path):
    """Every text of every way is answered, and the three ways to make a reply agree."""
    arguments = ("--rounds", "1", "--texts", "2", "--out", str(tmp_path))
    printed = run("benchmarks.tei", *arguments, timeout=hang_limit(80))
    (path,) = tmp_path.glob("*-tei.json")
    result = json.loads(path.read_text("utf-8"))
    assert set(result["streams"]) == {"tei", "single", "chunks"}
    assert set(result["microseconds_per_reply"]) == {"parsed", "list", "array"}
    assert all(f"| {name} |" in printed for name in result["streams"])


@pytest.mark.parametrize(
    ("name", "flag"), [("README.md", "--readme"), ("README.zh-CN.md", "--readme-zh")]
)
def test_the_readme_shows_what_was_measured(name: str, flag: str):
    """Its table is made from a result, never by hand."""
    readme = (ROOT / name).read_text("utf-8")
    path = re.search(r"benchmarks/results/[\w.-]+\.json", readme)
    assert path
    assert run("benchmarks.table", flag, path[0], timeout=hang_limit(10)) in readme


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readme_shows_what_was_measured_of_the_queue(name: str):
    readme = (ROOT / name).read_text("utf-8")
    path = re.search(r"benchmarks/results/[\w.-]+-mixed\.json", readme)
    assert path
    found = json.loads((ROOT / path[0]).read_text("utf-8"))["situations"]
    for situation in ("fifo", "fair", "shorter"):
        kept, ms = found[situation]["bulk_kept"]["median"], found[situation]["ms"]
        assert f"| {kept:.2f} | {ms['p50']:.0f} ms | {ms['p99']:.0f} ms |" in readme


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readme_shows_what_was_simulated(name: str):
    readme = (ROOT / name).read_text("utf-8")
    path = re.search(r"benchmarks/results/[\w.-]+-queue-simulation", readme)
    assert path
    traces = json.loads((ROOT / f"{path[0]}.json").read_text("utf-8"))["traces"]
    ours, first = (
        traces["reindex"]["runs"][policy]["waits"]["person"] for policy in ("ours", "first")
    )
    overload = traces["overload-1000"]["runs"]["ours"]
    for figure in (
        f"{ours['p50'] * 1000:.0f} ms",
        f"{ours['p99'] * 1000:.0f} ms",
        f"{first['p50']:.1f} ",
        f"{100 * overload['goodput']:.0f} %",
    ):
        assert figure in readme


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_ways_give_the_same_vectors(tmp_path: Path):
    """Both models: ways that disagree with the bare forward must not be compared with it."""
    result, printed = bench(tmp_path, "demo", "shaped", timeout=hang_limit(290))
    assert set(result["models"]) == {"demo", "shaped"}
    for model in result["models"].values():
        assert set(model["texts_per_second"]) == set(result["words"]["models"])
        assert min(model["smallest_cosine_to_bare"].values()) > 0.99999
        assert model["title"] in printed


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_reranking_gives_the_scores_of_the_cross_encoder(tmp_path: Path):
    """Another side that scores otherwise must not be compared with."""
    small = ["--documents", "3", "--tokens", "20", "--layers", "1", "--rounds", "1"]
    printed = run("benchmarks.rerank", *small, "--out", str(tmp_path), timeout=hang_limit(290))
    (path,) = tmp_path.glob("*-rerank.json")
    result = json.loads(path.read_text("utf-8"))
    assert set(result["pairs_per_second"]) == set(result["words"])
    assert result["about"]["largest_difference_of_scores"] < 1e-4
    assert "3 documents of 20 tokens" in printed


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_instructed_queries_have_the_same_vectors_in_all_ways(tmp_path: Path):
    """And the way that shares the instruction computes fewer tokens."""
    sizes = ["--layers", "1", "--queries", "8", "--rounds", "1", "--seconds", "5"]
    run("benchmarks.prefix", *sizes, "--out", str(tmp_path), timeout=hang_limit(290))
    (path,) = tmp_path.glob("*-prefix.json")
    for case in json.loads(path.read_text("utf-8"))["cases"]:
        assert max(case["largest_difference_to_whole"].values()) < 1e-5
        computed = case["computed_per_query"]
        assert computed["shared"] < computed["whole"] / 2


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_pauses_of_the_event_loop_are_told_for_each_kind_of_body():
    kinds = ("empty lists", "half a surrogate at the end", "2,048 vectors as base64")
    printed = run("benchmarks.event_loop", "--only", *kinds, timeout=80)
    statuses = [line.split()[-4] for line in printed.splitlines() if line.startswith(kinds)]
    assert statuses == ["400", "400", "200"]
