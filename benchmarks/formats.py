"""Encode and decode 256 vectors of 1024 values, by format, in one process: numpy in, numpy out.

Ours are the server's own encoder and the client's own reader. The others are written as well as
Python lets them: `repeated float` filled from lists and read into numpy, JSON by its own library.
"""

from __future__ import annotations

import base64
import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from benchmarks.rounds import interleave, spread
from benchmarks.sizes import SEED
from qwire.results import decode, read_rows
from qwire.v1 import embedding_pb2 as pb
from qwire_server.engine.rows import encode
from qwire_server.engine.work import Encoding

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks.sizes import Sizes

    Array = NDArray[np.float32]
    Write = Callable[[Array], bytes]
    Read = Callable[[bytes], Array]

ROWS, DIM = 256, 1024
DESCRIPTIONS = {
    "float32": "our bytes, float32",
    "float16": "our bytes, float16",
    "int8": "our bytes, int8 with a scale a row",
    "binary": "our bytes, one bit a value",
    "repeated": "`repeated float` in protobuf",
    "json": "JSON, lists of numbers",
    "json_base64": "JSON, float32 in base64",
}


def measure(sizes: Sizes) -> dict[str, Any]:
    """Milliseconds for both directions, bytes on the wire, and the worst cosine to the original."""
    vectors = np.random.default_rng(SEED).normal(size=(ROWS, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    coders = _coders()

    def repeat(times: int, write: Write, read: Read) -> int:
        for _ in range(times):
            read(write(vectors))
        return times

    ways = {
        name: partial(repeat, _repeats(vectors, *coder, sizes.codec_repeats), *coder)
        for name, coder in coders.items()
    }
    rates = interleave(ways, rounds=sizes.rounds, seconds=sizes.front_seconds)
    return {
        "rows": ROWS,
        "dim": DIM,
        "formats": {
            name: {
                "ms": spread([1000 / rate for rate in rates[name]]),
                **_fidelity(vectors, *coder),
            }
            for name, coder in coders.items()
        },
    }


def _repeats(vectors: Array, write: Write, read: Read, most: int) -> int:
    """As many as take a tenth of a second: the formats differ a thousandfold."""
    began = time.perf_counter()
    read(write(vectors))
    return max(1, min(most, int(0.1 / (time.perf_counter() - began))))


def _fidelity(vectors: Array, write: Write, read: Read) -> dict[str, Any]:
    wire = write(vectors)
    back = read(wire).astype(np.float64)
    cosines = (vectors * back).sum(axis=1) / np.linalg.norm(back, axis=1)
    return {"bytes": len(wire), "smallest_cosine": float(f"{cosines.min():.6f}")}


def _coders() -> dict[str, tuple[Write, Read]]:
    ours = {
        encoding.name.lower(): (partial(_write, encoding), partial(_read, encoding))
        for encoding in Encoding
    }
    return {
        **ours,
        "repeated": _repeated_float(),
        "json": (_write_json, _read_json),
        "json_base64": (_write_base64, _read_base64),
    }


def _write(encoding: Encoding, vectors: Array) -> bytes:
    rows = encode(vectors, encoding)
    message = pb.Vectors(
        data=rows.data,
        rows=rows.count,
        dim=DIM,
        encoding=pb.Encoding.Name(encoding),
        scales=rows.scales,
    )
    return message.SerializeToString()


def _read(encoding: Encoding, wire: bytes) -> Array:
    zeros = [0] * ROWS
    usage = pb.TextUsage(tokens=zeros, cut=zeros, unknown=zeros)
    rows = read_rows(pb.Vectors.FromString(wire), usage, ROWS, encoding)
    return decode(rows.raw, rows.dim, rows.scales)


def _repeated_float() -> tuple[Write, Read]:
    """A message of messages of floats, as most embedding services define it."""
    batch = _batch_message()

    def write(vectors: Array) -> bytes:
        message = batch()
        for row in vectors.tolist():
            message.rows.add().values.extend(row)
        wire: bytes = message.SerializeToString()
        return wire

    def read(wire: bytes) -> Array:
        return np.array([row.values for row in batch.FromString(wire).rows], np.float32)

    return write, read


def _batch_message() -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="row.proto", package="rows", syntax="proto3")
    row, batch = file.message_type.add(name="Row"), file.message_type.add(name="Batch")
    repeated = field.LABEL_REPEATED
    row.field.add(name="values", number=1, type=field.TYPE_FLOAT, label=repeated)
    batch.field.add(
        name="rows", number=1, type=field.TYPE_MESSAGE, type_name=".rows.Row", label=repeated
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("rows.Batch"))


def _write_json(vectors: Array) -> bytes:
    return json.dumps({"data": vectors.tolist()}).encode()


def _read_json(wire: bytes) -> Array:
    return np.array(json.loads(wire)["data"], np.float32)


def _write_base64(vectors: Array) -> bytes:
    rows = [base64.b64encode(row.tobytes()).decode() for row in vectors]
    return json.dumps({"data": rows}).encode()


def _read_base64(wire: bytes) -> Array:
    rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in json.loads(wire)["data"]]
    return np.stack(rows)
