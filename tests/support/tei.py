"""A client of `tei.v1` that shares nothing with the server: the contract is written here again.

Its messages live in a pool of their own, since a process cannot hold two copies of one contract.
"""

from __future__ import annotations

import re
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

MESSAGES = {
    "InfoRequest": "",
    "InfoResponse": "string version=1 string? sha=2 string? docker_label=3 string model_id=4 "
    "string? model_sha=5 string model_dtype=6 ModelType model_type=7 "
    "uint32 max_concurrent_requests=8 uint32 max_input_length=9 uint32 max_batch_tokens=10 "
    "uint32? max_batch_requests=11 uint32 max_client_batch_size=12 uint32 tokenization_workers=13",
    "Metadata": "uint32 compute_chars=1 uint32 compute_tokens=2 uint64 total_time_ns=3 "
    "uint64 tokenization_time_ns=4 uint64 queue_time_ns=5 uint64 inference_time_ns=6",
    "EmbedRequest": "string inputs=1 bool truncate=2 bool? normalize=3 "
    "TruncationDirection truncation_direction=4 string? prompt_name=5 uint32? dimensions=6",
    "EmbedResponse": "float* embeddings=1 Metadata metadata=2",
    "EmbedSparseRequest": "string inputs=1 bool truncate=2 "
    "TruncationDirection truncation_direction=3 string? prompt_name=4",
    "SparseValue": "uint32 index=1 float value=2",
    "EmbedSparseResponse": "SparseValue* sparse_embeddings=1 Metadata metadata=2",
    "EmbedAllRequest": "string inputs=1 bool truncate=2 "
    "TruncationDirection truncation_direction=3 string? prompt_name=4",
    "TokenEmbedding": "float* embeddings=1",
    "EmbedAllResponse": "TokenEmbedding* token_embeddings=1 Metadata metadata=2",
    "PredictRequest": "string inputs=1 bool truncate=2 bool raw_scores=3 "
    "TruncationDirection truncation_direction=4",
    "PredictPairRequest": "string* inputs=1 bool truncate=2 bool raw_scores=3 "
    "TruncationDirection truncation_direction=4",
    "Prediction": "float score=1 string label=2",
    "PredictResponse": "Prediction* predictions=1 Metadata metadata=2",
    "RerankRequest": "string query=1 string* texts=2 bool truncate=3 bool raw_scores=4 "
    "bool return_text=5 TruncationDirection truncation_direction=6",
    "RerankStreamRequest": "string query=1 string text=2 bool truncate=3 bool raw_scores=4 "
    "bool return_text=5 TruncationDirection truncation_direction=6",
    "Rank": "uint32 index=1 string? text=2 float score=3",
    "RerankResponse": "Rank* ranks=1 Metadata metadata=2",
    "EncodeRequest": "string inputs=1 bool add_special_tokens=2 string? prompt_name=3",
    "SimpleToken": "uint32 id=1 string text=2 bool special=3 uint32? start=4 uint32? stop=5",
    "EncodeResponse": "SimpleToken* tokens=1",
    "DecodeRequest": "uint32* ids=1 bool skip_special_tokens=2",
    "DecodeResponse": "string text=1",
}
ENUMS = {
    "ModelType": ["EMBEDDING", "CLASSIFIER", "RERANKER"],
    "TruncationDirection": ["RIGHT", "LEFT"],
}
# Each service's methods; `~` before a message: a stream of it.
METHODS = {
    "Info/Info": "InfoRequest InfoResponse",
    "Embed/Embed": "EmbedRequest EmbedResponse",
    "Embed/EmbedStream": "~EmbedRequest ~EmbedResponse",
    "Embed/EmbedSparse": "EmbedSparseRequest EmbedSparseResponse",
    "Embed/EmbedSparseStream": "~EmbedSparseRequest ~EmbedSparseResponse",
    "Embed/EmbedAll": "EmbedAllRequest EmbedAllResponse",
    "Embed/EmbedAllStream": "~EmbedAllRequest ~EmbedAllResponse",
    "Predict/Predict": "PredictRequest PredictResponse",
    "Predict/PredictPair": "PredictPairRequest PredictResponse",
    "Predict/PredictStream": "~PredictRequest ~PredictResponse",
    "Predict/PredictPairStream": "~PredictPairRequest ~PredictResponse",
    "Rerank/Rerank": "RerankRequest RerankResponse",
    "Rerank/RerankStream": "~RerankStreamRequest RerankResponse",
    "Tokenize/Tokenize": "EncodeRequest EncodeResponse",
    "Tokenize/TokenizeStream": "~EncodeRequest ~EncodeResponse",
    "Tokenize/Decode": "DecodeRequest DecodeResponse",
    "Tokenize/DecodeStream": "~DecodeRequest ~DecodeResponse",
}


class Tei:
    """Calls of `tei.v1` on a channel, by `Service/Method`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        pool = descriptor_pool.DescriptorPool()
        pool.Add(contract())
        self._pool = pool

    def message(self, name: str, **fields: Any) -> Any:
        """A message of the contract."""
        return self._type(name)(**fields)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Begin a call."""
        asked, told = METHODS[method].split()
        kind = "_".join("stream" if name[0] == "~" else "unary" for name in (asked, told))
        return getattr(self._channel, kind)(
            f"/tei.v1.{method}",
            request_serializer=self._type(asked).SerializeToString,
            response_deserializer=self._type(told).FromString,
        )(*args, **kwargs)

    async def embed(self, inputs: str, **fields: Any) -> Any:
        """One text; the whole reply."""
        return await self.call("Embed/Embed", self.message("EmbedRequest", inputs=inputs, **fields))

    async def stream(self, method: str, *requests: Any) -> list[Any]:
        """Send all requests, half-close, read to the end."""
        call = self.call(method)
        for request in requests:
            await call.write(request)
        await call.done_writing()
        return [reply async for reply in call]

    async def embed_all(self, *texts: str, **fields: Any) -> list[Any]:
        """All texts on one stream; the replies."""
        requests = [self.message("EmbedRequest", inputs=text, **fields) for text in texts]
        return await self.stream("Embed/EmbedStream", *requests)

    def _type(self, name: str) -> Any:
        descriptor = self._pool.FindMessageTypeByName(f"tei.v1.{name.lstrip('~')}")
        return message_factory.GetMessageClass(descriptor)


def contract() -> FileDescriptorProto:
    """The messages and services above, as protobuf describes them."""
    file = FileDescriptorProto(name="independent.proto", package="tei.v1", syntax="proto3")
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
        for number, value in enumerate(values):
            enum.value.add(name=f"{prefix}_{value}", number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for kind, field, number in re.findall(r"(\S+) (\w+)=(\d+)", fields):
            _add_field(message, kind, field, int(number))
    for path, types in METHODS.items():
        _add_method(file, path, *types.split())
    return file


def _add_field(message: Any, kind: str, name: str, number: int) -> None:
    label = "REPEATED" if kind[-1] == "*" else "OPTIONAL"
    field = message.field.add(
        name=name, number=number, label=getattr(FieldDescriptorProto, f"LABEL_{label}")
    )
    base = kind.rstrip("*?")
    scalar = getattr(FieldDescriptorProto, f"TYPE_{base.upper()}", None)
    if scalar:
        field.type = scalar
    else:
        field.type_name = f".tei.v1.{base}"
        enum = base in ENUMS
        field.type = FieldDescriptorProto.TYPE_ENUM if enum else FieldDescriptorProto.TYPE_MESSAGE
    if kind[-1] == "?":
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")


def _add_method(file: FileDescriptorProto, path: str, asked: str, told: str) -> None:
    name, method = path.split("/")
    service = next((s for s in file.service if s.name == name), None) or file.service.add(name=name)
    service.method.add(
        name=method,
        input_type=f".tei.v1.{asked.lstrip('~')}",
        output_type=f".tei.v1.{told.lstrip('~')}",
        client_streaming=asked[0] == "~" or None,  # unset, as protoc leaves it
        server_streaming=told[0] == "~" or None,
    )
