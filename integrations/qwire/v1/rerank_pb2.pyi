from qwire.v1 import embedding_pb2 as _embedding_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RerankOptions(_message.Message):
    __slots__ = ("model", "expected_fingerprint", "instruction", "truncate", "raw_scores", "request_class")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    RAW_SCORES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_CLASS_FIELD_NUMBER: _ClassVar[int]
    model: str
    expected_fingerprint: str
    instruction: str
    truncate: _embedding_pb2.Truncate
    raw_scores: bool
    request_class: _embedding_pb2.RequestClass
    def __init__(self, model: _Optional[str] = ..., expected_fingerprint: _Optional[str] = ..., instruction: _Optional[str] = ..., truncate: _Optional[_Union[_embedding_pb2.Truncate, str]] = ..., raw_scores: bool = ..., request_class: _Optional[_Union[_embedding_pb2.RequestClass, str]] = ...) -> None: ...

class RerankRequest(_message.Message):
    __slots__ = ("options", "query", "documents", "top_n", "return_documents")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    TOP_N_FIELD_NUMBER: _ClassVar[int]
    RETURN_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    options: RerankOptions
    query: str
    documents: _containers.RepeatedScalarFieldContainer[str]
    top_n: int
    return_documents: bool
    def __init__(self, options: _Optional[_Union[RerankOptions, _Mapping]] = ..., query: _Optional[str] = ..., documents: _Optional[_Iterable[str]] = ..., top_n: _Optional[int] = ..., return_documents: bool = ...) -> None: ...

class RankedDocument(_message.Message):
    __slots__ = ("index", "score", "document")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    index: int
    score: float
    document: str
    def __init__(self, index: _Optional[int] = ..., score: _Optional[float] = ..., document: _Optional[str] = ...) -> None: ...

class RerankResponse(_message.Message):
    __slots__ = ("results", "usage", "model", "fingerprint")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[RankedDocument]
    usage: _embedding_pb2.TextUsage
    model: str
    fingerprint: str
    def __init__(self, results: _Optional[_Iterable[_Union[RankedDocument, _Mapping]]] = ..., usage: _Optional[_Union[_embedding_pb2.TextUsage, _Mapping]] = ..., model: _Optional[str] = ..., fingerprint: _Optional[str] = ...) -> None: ...

class RerankStreamRequest(_message.Message):
    __slots__ = ("options", "query", "ids", "documents")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    options: RerankOptions
    query: str
    ids: _containers.RepeatedScalarFieldContainer[int]
    documents: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, options: _Optional[_Union[RerankOptions, _Mapping]] = ..., query: _Optional[str] = ..., ids: _Optional[_Iterable[int]] = ..., documents: _Optional[_Iterable[str]] = ...) -> None: ...

class RerankStreamResponse(_message.Message):
    __slots__ = ("ids", "scores", "usage", "errors", "notice", "model", "fingerprint")
    IDS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    scores: _containers.RepeatedScalarFieldContainer[float]
    usage: _embedding_pb2.TextUsage
    errors: _containers.RepeatedCompositeFieldContainer[_embedding_pb2.TextError]
    notice: _embedding_pb2.Notice
    model: str
    fingerprint: str
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., scores: _Optional[_Iterable[float]] = ..., usage: _Optional[_Union[_embedding_pb2.TextUsage, _Mapping]] = ..., errors: _Optional[_Iterable[_Union[_embedding_pb2.TextError, _Mapping]]] = ..., notice: _Optional[_Union[_embedding_pb2.Notice, str]] = ..., model: _Optional[str] = ..., fingerprint: _Optional[str] = ...) -> None: ...
