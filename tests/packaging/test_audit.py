"""The script behind `make audit`: it never says that all is well when nobody looked."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    """The script, imported as it imports its neighbours: with its own folder on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield importlib.import_module("audit")
        for name in ("audit", "environment", "interpreters"):
            del sys.modules[name]


def tool(folder: Path, knows: int, finds: int) -> list[str]:
    """A program that answers as pip-audit does.

    Args:
        folder: to put it into.
        knows: its exit status when it is asked about the release that is known to be vulnerable.
        finds: that when it is asked about the installed packages.
    """
    program = folder / "tool.py"
    program.write_text(
        "import sys\n"
        "if '-r' in sys.argv:\n"
        f"    print('jinja2 2.10 GHSA-462w-v97r-4m45' if {knows} else '')\n"
        f"    sys.exit({knows})\n"
        f"sys.exit({finds})\n"
    )
    return [sys.executable, str(program)]


def test_what_is_clean_where_vulnerabilities_are_known_is_clean(script, tmp_path: Path):
    assert script.audit(tool(tmp_path, knows=1, finds=0), "site-packages") == 0


def test_what_is_found_is_told(script, tmp_path: Path):
    assert script.audit(tool(tmp_path, knows=1, finds=1), "site-packages") == 1


@pytest.mark.parametrize("knows", [0, 2])
def test_a_tool_without_a_database_is_not_believed(script, tmp_path: Path, knows: int):
    """As it is behind a mirror of the package index: it answers, and knows of nothing."""
    said = script.audit(tool(tmp_path, knows=knows, finds=0), "site-packages")
    assert isinstance(said, str)
    assert "NOTHING WAS AUDITED" in said
