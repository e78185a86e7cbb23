"""HTTP/2 by hand: frames as they lie on the wire, right and wrong. RFC 9113 and RFC 7541."""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 0x1, 0x4
ACK = 0x1
PADDED = 0x8


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def string(value: bytes) -> bytes:
    """A string of a header block, as it is."""
    return integer(len(value), 7) + value


def integer(value: int, bits: int) -> bytes:
    """A number of a header block, behind no flags."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    value -= most
    rest = b""
    while value >= 0x80:
        rest += bytes([value & 0x7F | 0x80])
        value >>= 7
    return bytes([most]) + rest + bytes([value])


def block(*headers: tuple[bytes, bytes]) -> bytes:
    """A header block of literal fields that no table keeps."""
    return b"".join(b"\x10" + string(name) + string(value) for name, value in headers)


def call(
    path: bytes = b"/qwire.v1.Embedding/Embed", *more: tuple[bytes, bytes], **instead: bytes
) -> bytes:
    """The header block of a call; names in `instead` replace a value, or leave it out if empty."""
    headers = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path,
        b":authority": b"localhost",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
    }
    for name, value in instead.items():
        key = name.replace("_", "-").encode()
        key = key if key in headers else b":" + key
        headers[key] = value
    return block(*((n, v) for n, v in headers.items() if v), *more)


def message(body: bytes, length: int | None = None, compressed: int = 0) -> bytes:
    """A gRPC message, with a true length or another."""
    return struct.pack(">BI", compressed, len(body) if length is None else length) + body
