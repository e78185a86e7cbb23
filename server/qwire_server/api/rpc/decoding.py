"""From the bytes of one message to a message, within bounds. Pure; knows no calls.

gRPC's core decompresses a message before anybody can ask how large it gets, so that is done here
(`options.py` turns the core's off): 16 KB of gzip can hold 16 MiB, and 16 MiB can hold eight
million empty texts. The elements are counted in the bytes, before a message is built from them.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from qwire_server.api.served import MAX_MESSAGE_BYTES
from qwire_server.errors import InvalidRequest, RequestTooLarge

if TYPE_CHECKING:
    from typing import TypeVar

    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)

_UNREADABLE = "the message cannot be read: it is not of this contract"
# No message begins with these bytes: 0x1f is a field of a wire type that does not exist, and 0x78
# is a field 15, which no request has.
_GZIP = b"\x1f\x8b"
_DEFLATE = 0x78
_NOT_PACKED = {
    FieldDescriptor.CPPTYPE_STRING,
    FieldDescriptor.CPPTYPE_MESSAGE,
}
_VARINT, _EIGHT_BYTES, _SIZED, _FOUR_BYTES = 0, 1, 2, 5  # wire types


def is_compressed(raw: bytes) -> bool:
    """Whether these bytes are a message that is compressed, by gzip or deflate."""
    if raw[:2] == _GZIP:
        return True
    return len(raw) > 2 and raw[0] == _DEFLATE and (raw[0] << 8 | raw[1]) % 31 == 0


def decompressed(raw: bytes) -> bytes:
    """The bytes of a message that is compressed.

    Raises:
        RequestTooLarge: they are more than a message may have; they are not made.
        InvalidRequest: it is broken.
    """
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or deflate, as its header says
    try:
        data = inflater.decompress(raw, MAX_MESSAGE_BYTES + 1)
    except zlib.error:
        raise InvalidRequest("the message cannot be decompressed: it is broken") from None
    if len(data) > MAX_MESSAGE_BYTES:
        raise RequestTooLarge(
            f"the message has more than {MAX_MESSAGE_BYTES} bytes once it is decompressed: send "
            "fewer texts at a time"
        )
    if not inflater.eof or inflater.unused_data:
        raise InvalidRequest("the message cannot be decompressed: it is broken")
    return data


def decoded(data: bytes, kind: type[M], max_elements: int) -> M:
    """The message in these bytes.

    Args:
        data: the bytes, decompressed.
        kind: class of the message.
        max_elements: most fields of it, each element of a repeated field counted.

    Raises:
        RequestTooLarge: it has more.
        InvalidRequest: it is no message of this kind.
    """
    if len(data) > max_elements:  # an element has a byte at least
        _check_elements(data, _packed(kind), max_elements)
    try:
        return kind.FromString(data)
    except DecodeError:
        raise InvalidRequest(_UNREADABLE) from None


def _check_elements(data: bytes, packed: frozenset[int], most: int) -> None:
    """Refuse a message with too many elements, after a look at no more of it than that takes."""
    place, end, elements = 0, len(data), 0
    while place < end:
        tag, place = _varint(data, place)
        elements += 1
        wire_type = tag & 7
        if wire_type == _SIZED:
            size, place = _varint(data, place)
            if tag >> 3 in packed:
                # The last byte of a number has its highest bit unset; floats count four times.
                block = np.frombuffer(data, np.uint8, min(size, end - place), place)
                elements += int(np.count_nonzero(block < 0x80))
            place += size
        elif wire_type == _VARINT:
            _, place = _varint(data, place)
        else:
            place += {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(wire_type, 0)
        if elements > most:
            raise RequestTooLarge(
                f"the message has more than {most} elements (texts, ids and other fields): send "
                "fewer at a time"
            )


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number and the place behind it."""
    value = shift = 0
    while place < len(data) and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise InvalidRequest(_UNREADABLE)


def _packed(kind: type[Message]) -> frozenset[int]:
    """Numbers of the fields that hold many numbers in one block."""
    fields: list[Any] = list(kind.DESCRIPTOR.fields)
    return frozenset(
        field.number
        for field in fields
        if _is_repeated(field) and field.cpp_type not in _NOT_PACKED
    )


def _is_repeated(field: Any) -> bool:
    if hasattr(field, "is_repeated"):  # `label` is deprecated where there is this
        return bool(field.is_repeated)
    return bool(field.label == field.LABEL_REPEATED)
