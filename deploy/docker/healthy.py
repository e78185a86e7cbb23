"""Exit status 0 if the server of this container is ready, else 1 and why: Docker's HEALTHCHECK."""

import os
import ssl
import sys
import urllib.error
import urllib.request

_SECONDS = 2


def main() -> int:
    """Ask with TLS if the server has it, else without."""
    reason = ""
    for scheme in ("https", "http"):
        try:
            return _ask(scheme)
        except urllib.error.HTTPError as error:  # it answered, and is not ready
            reason = f"{error.code}: {error.read().decode(errors='replace')}"
            break
        except OSError as error:
            reason = str(error)
    print(reason)
    return 1


def _ask(scheme: str) -> int:
    port = os.environ.get("QWIRE_HTTP_PORT", "8000")
    # Who answers on this container's own loopback is the server; its certificate is for other names.
    unverified = ssl._create_unverified_context()  # noqa: S323, SLF001
    url = f"{scheme}://127.0.0.1:{port}/health/ready"
    with urllib.request.urlopen(url, timeout=_SECONDS, context=unverified):  # noqa: S310
        return 0


if __name__ == "__main__":
    sys.exit(main())
