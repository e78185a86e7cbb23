"""`python -m qwire` is the `qwire` command."""

import sys

from qwire.cli import main

sys.exit(main())
