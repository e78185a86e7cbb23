"""A DNS server that knows one answer: the IPv4 addresses that every name stands for just now."""

from __future__ import annotations

import socket
import struct
import threading

_A = 1  # the record type that has answers here


class NameServer:
    """Use in `with`; set `addresses` at any time.

    Attributes:
        addresses: IPv4 addresses of every name.
        asked: queries for them so far.
    """

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._socket.bind(("127.0.0.1", 0))
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._socket.sendto(b"", self._socket.getsockname())  # the end
        self._thread.join()
        self._socket.close()

    def target(self, name: str, port: int) -> str:
        """What makes gRPC ask this server, and no other."""
        return f"dns://127.0.0.1:{self._socket.getsockname()[1]}/{name}:{port}"

    def _run(self):
        while True:
            query, sender = self._socket.recvfrom(512)
            if not query:
                return
            self._socket.sendto(self._answer(query), sender)

    def _answer(self, query: bytes) -> bytes:
        end = query.index(b"\0", 12) + 5  # of the question: its name, type and class
        (kind,) = struct.unpack("!H", query[end - 4 : end - 2])
        self.asked += kind == _A
        addresses = self.addresses if kind == _A else ()
        # An answer, recursive; one question, so many answers. A record: where the name stands in
        # the message, type, class, seconds to keep it, length, address.
        header = query[:2] + struct.pack("!HHHHH", 0x8180, 1, len(addresses), 0, 0)
        records = (
            struct.pack("!HHHIH", 0xC00C, _A, 1, 1, 4) + socket.inet_aton(address)
            for address in addresses
        )
        return b"".join((header, query[12:end], *records))
