"""Install the browser that tests/page drives, where that is ours to do: Debian or Ubuntu, as root.

Does nothing where a Chromium is there already, and says why where it cannot help; those tests are
skipped then. Needs nothing but the standard library.
"""

import os
import shutil
import subprocess

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
COMMANDS = [
    ["apt-get", "update", "-qq"],
    ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"],
]


def main() -> None:
    """Make a Chromium be there, or say that there is none."""
    if any(map(shutil.which, NAMES)):
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        print("browser: no chromium here, and not root on Debian: tests/page is skipped.")
        return
    print("browser: installing chromium (about 100 MB) for tests/page.", flush=True)
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for command in COMMANDS:
        if subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, check=False).returncode:
            print("browser: that failed for the reason above: tests/page is skipped.")
            return


if __name__ == "__main__":
    main()
