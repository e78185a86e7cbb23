"""`python -m qwire_server`: the same as `qwire serve`."""

import sys

from qwire_server.main import main

sys.exit(main())
