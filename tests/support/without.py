"""A program: `qwire` where packages are not installed. Named first, with commas between them."""

from __future__ import annotations

import sys


class Without:
    """An import finder that does not find some packages, nor what is recorded of them.

    Args:
        finder: finds everything.
        names: top-level modules that are not there.
    """

    def __init__(self, finder, names) -> None:
        self._finder = finder
        self._names = names

    def find_spec(self, name, path=None, target=None):
        missing = name.partition(".")[0] in self._names or name in self._names
        return None if missing else self._finder.find_spec(name, path, target)

    def find_distributions(self, *context):
        for found in getattr(self._finder, "find_distributions", lambda *_: ())(*context):
            if found.name.lower().replace("-", "_") not in self._names:
                yield found

    def __getattr__(self, name):
        return getattr(self._finder, name)


missing = set(sys.argv[1].split(","))
sys.meta_path[:] = [Without(finder, missing) for finder in sys.meta_path]

if __name__ == "__main__":  # the processes of a server import this file too
    from qwire.cli import main

    sys.exit(main(sys.argv[2:]))
