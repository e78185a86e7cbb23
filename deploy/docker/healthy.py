"""Exit status 0 if the server of this container is ready, else 1 and why: Docker's HEALTHCHECK."""

import os
import ssl
import sys
import urllib.error
import urllib.request

_SECONDS = 2


def main() -> int:
    """Ask with TLS if the server has it, else without."""
    reason = _ask("https")
    if reason is not None and not reason.startswith("HTTP "):
        reason = _ask("http")
    if reason is not None:
        print(reason)
    return 0 if reason is None else 1


def _ask(scheme: str) -> "str | None":
    """Why the server is not ready, with `HTTP` in front if it said so itself; None if it is."""
    port = os.environ.get("QWIRE_HTTP_PORT", "8000")
    url = f"{scheme}://127.0.0.1:{port}/health/ready"
    # Only the server answers on this container's own loopback; its certificate has other names.
    unverified = ssl._create_unverified_context()  # noqa: S323, SLF001
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS, context=unverified):  # noqa: S310
            return None
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}: {error.read().decode(errors='replace')}"
    except OSError as error:
        return str(error)


if __name__ == "__main__":
    sys.exit(main())
