"""`qwire` where packages of the server are not installed: one sentence with the pip line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qwire_server.packages import SERVER_PACKAGES

pytestmark = pytest.mark.torch
ROOT = Path(__file__).parents[2]
WITHOUT = ROOT / "tests" / "support" / "without.py"
# Packages of those packages, which are found missing when they are imported.
INNER = ["pydantic_core", "anyio"]
SERVE = ["serve", "--model", "demo", "--grpc-port", "0", "--http-port", "0"]


def run(missing, *args):
    program = [sys.executable, str(WITHOUT), missing, *args]
    env = {name: value for name, value in os.environ.items() if not name.startswith("QWIRE_")}
    return subprocess.run(
        program, capture_output=True, text=True, check=False, env=env, cwd=ROOT, timeout=50
    )


def check(ran, words):
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert words in ran.stderr
    assert not ran.stdout


def test_every_package_of_the_extra_is_looked_for():
    (listed,) = re.findall(
        r"^server = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL
    )
    names = re.findall(r'^  "([a-z0-9-]+)', listed, re.MULTILINE)
    assert sorted(names) == sorted(SERVER_PACKAGES.values())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("module", [*SERVER_PACKAGES, *INNER])
def test_a_server_without_a_package_names_it(module):
    if module == "tomllib":
        pytest.skip("Python's own")
    name = SERVER_PACKAGES.get(module, module)
    check(run(module, *SERVE), f'needs the package {name}: pip install "qwire[server]"\n')


@pytest.mark.timeout(60)
@pytest.mark.parametrize("more", [["--fronts", "2"], ["--help"], ["--model-source", "modelscope"]])
def test_whatever_the_server_is_to_do(more):
    """With processes of its own, which would be started again and again, too."""
    ran = run("torch,orjson", *SERVE, *more)
    check(ran, 'needs the packages torch, orjson: pip install "qwire[server]"\n')


@pytest.mark.timeout(60)
@pytest.mark.parametrize("module", ["torch", "tokenizers", "transformers", "pydantic_settings"])
def test_the_engine_of_this_process_names_what_it_needs(module, tmp_path):
    (tmp_path / "in.txt").write_text("one\n")
    args = ["embed", str(tmp_path / "in.txt"), "-o", str(tmp_path / "out.npy")]
    ran = run(module, *args, "--engine", "local", "--model", "demo")
    check(ran, f'needs the package {module}: pip install "qwire[server]"\n')
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "args", [SERVE, ["embed", "in.txt", "-o", "out.npy", "--engine", "local", "--model", "demo"]]
)
def test_a_package_that_is_too_old_is_told_in_one_line(args, tmp_path):
    (tmp_path / "in.txt").write_text("one\n")
    (tmp_path / "safetensors").mkdir()
    (tmp_path / "safetensors" / "__init__.py").write_text("")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    program = [sys.executable, "-m", "qwire", *args]
    ran = subprocess.run(
        program, capture_output=True, text=True, check=False, env=env, cwd=tmp_path, timeout=50
    )
    last = ran.stderr.splitlines()[-1]  # a server logs its ports before
    assert ran.returncode == 2
    assert "cannot import name 'safe_open' from 'safetensors'" in last
    assert last.endswith('pip install --upgrade "qwire[server]"')
    assert "Traceback" not in ran.stderr


@pytest.mark.timeout(60)
def test_python_m_qwire_server_says_the_same(tmp_path):
    (tmp_path / "pydantic").mkdir()
    (tmp_path / "pydantic" / "__init__.py").write_text("raise ModuleNotFoundError(name='pydantic')")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    program = [sys.executable, "-m", "qwire_server", "--model", "demo"]
    ran = subprocess.run(program, capture_output=True, text=True, check=False, env=env)
    check(ran, 'qwire serve: the server needs the package pydantic: pip install "qwire[server]"\n')


@pytest.mark.timeout(60)
def test_a_cluster_without_ray_names_it():
    check(run("ray", "deploy"), 'needs the package ray: pip install "qwire[ray]"\n')


@pytest.mark.timeout(60)
@pytest.mark.parametrize("verb", ["info", "embed", "rerank", "verify", "key"])
def test_the_clients_verbs_need_none_of_them(verb):
    assert run(",".join([*SERVER_PACKAGES, "tqdm"]), verb, "--help").returncode == 0
