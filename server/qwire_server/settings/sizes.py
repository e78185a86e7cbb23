"""Numbers of bytes, as people write them."""

from __future__ import annotations

import re

_BYTES = re.compile(r"\d+(\.\d+)?\s*([kmgt]i?b|[kmgt]|b)", re.IGNORECASE)


def with_unit(value: object) -> object:
    """Refuse what `ByteSize` alone would read otherwise: 50% as 50 bytes, and 0.9 as none."""
    if isinstance(value, str) and not _BYTES.fullmatch(value.strip()):
        raise ValueError("not a number of bytes with a unit, such as 8GiB or 500MB")
    return value
