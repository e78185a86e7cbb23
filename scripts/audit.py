"""Look for known vulnerabilities in all that `.venv` holds: `python3 scripts/audit.py`.

pip-audit asks an advisory database over the network, and takes a database that knows nothing for a
clean bill: a package mirror has none. So it is asked first about a release that is known to be
vulnerable, and where it finds nothing there, nothing it says is believed. Knows no package index.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from environment import SetUpError, locked, make_venv, succeeds
from interpreters import ANY, NoPythonError, candidates, python_of

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-audit"
TOOL = "pip-audit==2.10.1"
# GHSA-462w-v97r-4m45 of 2019: a sandbox that could be left. No database forgets that one.
KNOWN = "jinja2==2.10"
VULNERABLE = 1  # pip-audit's exit status when it found something
BLIND = (
    "audit: NOTHING WAS AUDITED. Asked about {known}, which has known vulnerabilities, pip-audit "
    "told none: it does not reach an advisory database from here. Run this where pypi.org is "
    "reached, not a mirror of it."
)


def main() -> None:
    """Set up pip-audit, then audit `.venv`; the exit status is 0 only where it was looked."""
    try:
        with locked(ROOT / ".venv.lock"):
            install()
    except (SetUpError, NoPythonError) as error:
        sys.exit(f"audit: {error}")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    command = [str(python_of(ROOT / ".venv")), "-c", where]
    packages = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    sys.exit(audit([str(python_of(VENV)), "-m", "pip_audit"], packages))


def install() -> None:
    """Create the environment of pip-audit, unless it is there."""
    python = str(python_of(VENV))
    version = TOOL.partition("==")[2]
    has_tool = f"import importlib.metadata as m; assert m.version('pip-audit') == '{version}'"
    if python_of(VENV).exists() and succeeds([python, "-c", has_tool]):
        return
    make_venv(VENV, candidates(), ANY)
    if subprocess.run([python, "-m", "pip", "install", "-q", TOOL], check=False).returncode:
        raise SetUpError("pip failed for the reason above; the same command tries again.")


def audit(tool: "list[str]", packages: str) -> "int | str":
    """Ask the tool; what to exit with.

    Args:
        tool: pip-audit's command.
        packages: the folder of the installed packages.
    """
    if not knows_vulnerabilities(tool):
        return BLIND.format(known=KNOWN)
    return subprocess.run([*tool, "--path", packages, "--skip-editable"], check=False).returncode


def knows_vulnerabilities(tool: "list[str]") -> bool:
    """Whether the tool finds what is known to be there."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(KNOWN + "\n", encoding="utf-8")
        asked = [*tool, "--no-deps", "--disable-pip", "-r", str(requirements)]
        done = subprocess.run(asked, stdout=subprocess.PIPE, check=False)
    return done.returncode == VULNERABLE and KNOWN.partition("==")[0] in done.stdout.decode()


if __name__ == "__main__":
    main()
