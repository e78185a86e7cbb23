"""The set-up script, on a project of one tiny package."""

import ast
import importlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"


@pytest.fixture(scope="module")
def environment():
    """The script, imported as it imports its neighbour: with its own folder on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module("environment")
        for name in ("environment", "interpreters"):
            del sys.modules[name]


@pytest.fixture
def interpreters(environment):
    return importlib.import_module("interpreters")


@pytest.fixture(scope="module")
def ready(environment, tmp_path_factory):
    """A project whose `dev` set is one wheel beside it, set up once."""
    root = tmp_path_factory.mktemp("tiny")
    wheel = tiny_wheel(root)
    (root / "pyproject.toml").write_text(
        '[project]\nname = "tiny"\n\n[tool.ruff]\nselect = ["E"]\n'
    )
    (root / "constraints.txt").write_text("tiny==1.0\n")
    project = environment.Project(root, {"dev": [str(wheel)], "demo": [str(wheel)]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        assert environment.set_up(project, "dev", [sys.executable])
        yield project


@pytest.fixture
def project(ready):
    """The project, found ready by each test and left as it was."""
    stamp = ready.stamp.read_text()
    pyproject = (ready.root / "pyproject.toml").read_text()
    yield ready
    ready.stamp.write_text(stamp)
    (ready.root / "pyproject.toml").write_text(pyproject)


def test_the_set_is_installed_and_the_second_time_does_nothing(environment, project):
    """Not even a Python is needed the second time."""
    python = environment.python_of(project.venv)
    assert subprocess.run([python, "-c", "import tiny"], check=False).returncode == 0
    assert not environment.set_up(project, "dev", [])


def test_dev_holds_the_demo(environment, project):
    """`make demo` after `make test` installs nothing."""
    assert environment.is_complete(project, "demo")


def test_a_new_dependency_is_noticed_and_a_new_lint_rule_is_not(environment, project):
    """Only what decides the installed packages counts."""
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('"E"', '"ALL"'))
    assert environment.is_complete(project, "dev")
    pyproject.write_text(pyproject.read_text().replace("[tool", 'dependencies = ["numpy"]\n[tool'))
    assert not environment.is_complete(project, "dev")


def test_a_moved_project_is_set_up_again(environment, project, tmp_path):
    """Its editable installs point to where it was."""
    moved = project._replace(root=tmp_path / "moved")
    moved.root.symlink_to(project.root)
    assert not environment.is_complete(moved, "dev")


def test_a_set_may_have_an_environment_of_its_own(environment, project, capfd):
    """Ray's packages are in nobody else's way, and no word of it says `.venv`."""
    apart = project._replace(sets={"ray": project.sets["dev"]}, folder=environment.FOLDERS["ray"])
    assert not environment.is_complete(apart, "ray")
    apart.venv.symlink_to(project.venv)  # another one takes time to make
    assert environment.set_up(apart, "ray", [])
    apart.venv.unlink()
    assert apart.venv.name == ".venv-ray"
    assert "set-up: .venv-ray is ready." in capfd.readouterr().out


def test_an_interrupted_set_up_is_redone_in_place(environment, project, capfd):
    """What is whole is kept, so nothing is downloaded twice."""
    project.stamp.write_text("begun\n")
    assert environment.set_up(project, "dev", [])
    assert "creating" not in capfd.readouterr().out


def test_a_package_cut_in_half_is_noticed(environment, project):
    """To pip it is satisfied, so the environment is made again."""
    (module,) = project.venv.glob("**/tiny.py")
    whole = module.read_text()
    project.stamp.write_text("begun\n")
    module.write_text("")
    assert not environment.is_usable(project)
    module.write_text(whole)
    assert environment.is_usable(project)


def test_an_environment_without_a_working_python_is_noticed(environment, project, tmp_path):
    """As when the Python that it was made of has been removed."""
    gone = project._replace(root=tmp_path)
    assert not environment.is_usable(gone)
    assert not environment.is_complete(gone, "dev")


def test_two_set_ups_at_once_take_turns(environment, project):
    """The second waits for the first, then finds its work done."""
    code = (
        "import sys; from pathlib import Path; from environment import locked\n"
        "with locked(Path(sys.argv[1])): print('inside', flush=True)"
    )
    lock = project.root / ".venv.lock"
    with environment.locked(lock):
        second = subprocess.Popen(
            [sys.executable, "-c", code, str(lock)], cwd=SCRIPTS, stdout=subprocess.PIPE, text=True
        )
        assert "waiting" in second.stdout.readline()
    assert second.communicate()[0] == "inside\n"


def test_a_folder_that_cannot_be_written_is_a_clear_line(environment, tmp_path):
    """Root may write everywhere, so the folder is one that does not exist."""
    with pytest.raises(environment.SetUpError, match=r"cannot write in .*: copy the project"):
        environment.locked(tmp_path / "none" / ".venv.lock").__enter__()


def test_an_old_python_is_refused_with_what_was_found(interpreters, tmp_path):
    """And with the line that names another one."""
    old = fake_python(tmp_path / "python3", "3.8.10 venv")
    with pytest.raises(interpreters.NoPythonError, match=r"3\.10 or later.*3\.8\.10.*PYTHON="):
        interpreters.find_python([old, "python-that-is-not-there"])


def test_the_first_python_that_will_do_is_taken(interpreters, tmp_path):
    """Too old, not installed after all, without venv: the next one."""
    names = [
        fake_python(tmp_path / "old", "3.9.2 venv"),
        fake_python(tmp_path / "shim", ""),
        fake_python(tmp_path / "bare", "3.12.3"),
        fake_python(tmp_path / "good", "3.11.2 venv"),
    ]
    assert interpreters.find_python(names) == names[-1]


def test_debian_without_venv_is_told_the_package(interpreters, tmp_path):
    """A Python is there, but cannot make environments."""
    bare = fake_python(tmp_path / "python3", "3.12.3")
    with pytest.raises(interpreters.NoPythonError, match=r"apt install python3\.12-venv"):
        interpreters.find_python([bare])


def test_stubs_need_a_python_that_is_not_too_new(interpreters, tmp_path):
    """grpcio-tools 1.62.3 ends at 3.12."""
    new = fake_python(tmp_path / "python3", "3.13.0 venv")
    with pytest.raises(interpreters.NoPythonError, match=r"3\.10 to 3\.12 is needed, found: 3\.13"):
        interpreters.find_python([new], (3, 12))


@pytest.mark.parametrize(
    ("complaint", "advice"),
    [
        ("ERROR: No matching distribution found for torch (from versions: none)", "PIP_INDEX_URL"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: No matching distribution found for torch==2.13.0", "Another Python"),
        ("Segmentation fault", "the same command"),
    ],
)
def test_a_failed_pip_is_followed_by_its_cure(environment, complaint, advice):
    """One line that says what to do."""
    assert advice in environment.cure(complaint)
    assert "\n" not in environment.cure(complaint)


def test_no_network_ends_with_the_cure(environment, project):
    """Real pip, no index: its own words lead to the line."""
    alone = project._replace(sets={"dev": ["a-package-that-is-nowhere"]})
    with pytest.raises(environment.SetUpError, match="cannot reach its package index"):
        environment.install(alone, "dev")


@pytest.mark.parametrize("name", ["environment.py", "interpreters.py", "clients.py"])
def test_an_old_python_can_read_the_script(name):
    """Else the clear line would be a SyntaxError."""
    ast.parse((SCRIPTS / name).read_text(), feature_version=(3, 6))


def fake_python(path: Path, answer: str) -> str:
    """A program that answers the probe's question with these words."""
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return str(path)


def tiny_wheel(folder: Path) -> Path:
    """A wheel of one module."""
    path = folder / "tiny-1.0-py3-none-any.whl"
    files = {
        "tiny.py": "ANSWER = 42\n",
        "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,{len(text)}\n" for name, text in files.items())
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, "tiny-1.0.dist-info/RECORD": record}.items():
            archive.writestr(name, text)
    return path
