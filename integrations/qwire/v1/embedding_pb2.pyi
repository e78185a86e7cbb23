from google.protobuf import any_pb2 as _any_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InputType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INPUT_TYPE_UNSPECIFIED: _ClassVar[InputType]
    INPUT_TYPE_DOCUMENT: _ClassVar[InputType]
    INPUT_TYPE_QUERY: _ClassVar[InputType]
    INPUT_TYPE_NONE: _ClassVar[InputType]

class Truncate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRUNCATE_UNSPECIFIED: _ClassVar[Truncate]
    TRUNCATE_END: _ClassVar[Truncate]
    TRUNCATE_START: _ClassVar[Truncate]
    TRUNCATE_NONE: _ClassVar[Truncate]

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODING_UNSPECIFIED: _ClassVar[Encoding]
    ENCODING_FLOAT32: _ClassVar[Encoding]
    ENCODING_FLOAT16: _ClassVar[Encoding]
    ENCODING_INT8: _ClassVar[Encoding]
    ENCODING_BINARY: _ClassVar[Encoding]

class RequestClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REQUEST_CLASS_UNSPECIFIED: _ClassVar[RequestClass]
    REQUEST_CLASS_INTERACTIVE: _ClassVar[RequestClass]
    REQUEST_CLASS_BULK: _ClassVar[RequestClass]

class Notice(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOTICE_UNSPECIFIED: _ClassVar[Notice]
    NOTICE_DRAINING: _ClassVar[Notice]
    NOTICE_RECONNECT: _ClassVar[Notice]
    NOTICE_ALIVE: _ClassVar[Notice]

class ErrorCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_CODE_UNSPECIFIED: _ClassVar[ErrorCode]
    INVALID_REQUEST: _ClassVar[ErrorCode]
    INVALID_DIMENSIONS: _ClassVar[ErrorCode]
    TEXT_TOO_LARGE: _ClassVar[ErrorCode]
    TEXT_TOO_LONG: _ClassVar[ErrorCode]
    REQUEST_TOO_LARGE: _ClassVar[ErrorCode]
    MODEL_NOT_FOUND: _ClassVar[ErrorCode]
    FINGERPRINT_MISMATCH: _ClassVar[ErrorCode]
    OVERLOADED: _ClassVar[ErrorCode]
    DEADLINE_EXCEEDED: _ClassVar[ErrorCode]
    NOT_FINITE: _ClassVar[ErrorCode]
    MODEL_FAILED: _ClassVar[ErrorCode]
    UNAVAILABLE: _ClassVar[ErrorCode]
    INTERNAL: _ClassVar[ErrorCode]
    QUOTA_EXCEEDED: _ClassVar[ErrorCode]
    NOT_SERVED: _ClassVar[ErrorCode]
    UNAUTHENTICATED: _ClassVar[ErrorCode]
    PERMISSION_DENIED: _ClassVar[ErrorCode]
INPUT_TYPE_UNSPECIFIED: InputType
INPUT_TYPE_DOCUMENT: InputType
INPUT_TYPE_QUERY: InputType
INPUT_TYPE_NONE: InputType
TRUNCATE_UNSPECIFIED: Truncate
TRUNCATE_END: Truncate
TRUNCATE_START: Truncate
TRUNCATE_NONE: Truncate
ENCODING_UNSPECIFIED: Encoding
ENCODING_FLOAT32: Encoding
ENCODING_FLOAT16: Encoding
ENCODING_INT8: Encoding
ENCODING_BINARY: Encoding
REQUEST_CLASS_UNSPECIFIED: RequestClass
REQUEST_CLASS_INTERACTIVE: RequestClass
REQUEST_CLASS_BULK: RequestClass
NOTICE_UNSPECIFIED: Notice
NOTICE_DRAINING: Notice
NOTICE_RECONNECT: Notice
NOTICE_ALIVE: Notice
ERROR_CODE_UNSPECIFIED: ErrorCode
INVALID_REQUEST: ErrorCode
INVALID_DIMENSIONS: ErrorCode
TEXT_TOO_LARGE: ErrorCode
TEXT_TOO_LONG: ErrorCode
REQUEST_TOO_LARGE: ErrorCode
MODEL_NOT_FOUND: ErrorCode
FINGERPRINT_MISMATCH: ErrorCode
OVERLOADED: ErrorCode
DEADLINE_EXCEEDED: ErrorCode
NOT_FINITE: ErrorCode
MODEL_FAILED: ErrorCode
UNAVAILABLE: ErrorCode
INTERNAL: ErrorCode
QUOTA_EXCEEDED: ErrorCode
NOT_SERVED: ErrorCode
UNAUTHENTICATED: ErrorCode
PERMISSION_DENIED: ErrorCode

class EmbedOptions(_message.Message):
    __slots__ = ("model", "expected_fingerprint", "input_type", "instruction", "dimensions", "normalize", "truncate", "encoding", "request_class", "prompt_name")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    INPUT_TYPE_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    NORMALIZE_FIELD_NUMBER: _ClassVar[int]
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    REQUEST_CLASS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_NAME_FIELD_NUMBER: _ClassVar[int]
    model: str
    expected_fingerprint: str
    input_type: InputType
    instruction: str
    dimensions: int
    normalize: bool
    truncate: Truncate
    encoding: Encoding
    request_class: RequestClass
    prompt_name: str
    def __init__(self, model: _Optional[str] = ..., expected_fingerprint: _Optional[str] = ..., input_type: _Optional[_Union[InputType, str]] = ..., instruction: _Optional[str] = ..., dimensions: _Optional[int] = ..., normalize: bool = ..., truncate: _Optional[_Union[Truncate, str]] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., request_class: _Optional[_Union[RequestClass, str]] = ..., prompt_name: _Optional[str] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("options", "texts")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    options: EmbedOptions
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, options: _Optional[_Union[EmbedOptions, _Mapping]] = ..., texts: _Optional[_Iterable[str]] = ...) -> None: ...

class Vectors(_message.Message):
    __slots__ = ("data", "rows", "dim", "encoding", "scales")
    DATA_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SCALES_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    rows: int
    dim: int
    encoding: Encoding
    scales: bytes
    def __init__(self, data: _Optional[bytes] = ..., rows: _Optional[int] = ..., dim: _Optional[int] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., scales: _Optional[bytes] = ...) -> None: ...

class TextUsage(_message.Message):
    __slots__ = ("tokens", "cut", "unknown")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedScalarFieldContainer[int]
    cut: _containers.RepeatedScalarFieldContainer[int]
    unknown: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tokens: _Optional[_Iterable[int]] = ..., cut: _Optional[_Iterable[int]] = ..., unknown: _Optional[_Iterable[int]] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("vectors", "usage", "model", "fingerprint")
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    vectors: Vectors
    usage: TextUsage
    model: str
    fingerprint: str
    def __init__(self, vectors: _Optional[_Union[Vectors, _Mapping]] = ..., usage: _Optional[_Union[TextUsage, _Mapping]] = ..., model: _Optional[str] = ..., fingerprint: _Optional[str] = ...) -> None: ...

class EmbedStreamRequest(_message.Message):
    __slots__ = ("options", "ids", "texts")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    options: EmbedOptions
    ids: _containers.RepeatedScalarFieldContainer[int]
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, options: _Optional[_Union[EmbedOptions, _Mapping]] = ..., ids: _Optional[_Iterable[int]] = ..., texts: _Optional[_Iterable[str]] = ...) -> None: ...

class EmbedStreamResponse(_message.Message):
    __slots__ = ("ids", "vectors", "usage", "errors", "notice", "model", "fingerprint")
    IDS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    vectors: Vectors
    usage: TextUsage
    errors: _containers.RepeatedCompositeFieldContainer[TextError]
    notice: Notice
    model: str
    fingerprint: str
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., vectors: _Optional[_Union[Vectors, _Mapping]] = ..., usage: _Optional[_Union[TextUsage, _Mapping]] = ..., errors: _Optional[_Iterable[_Union[TextError, _Mapping]]] = ..., notice: _Optional[_Union[Notice, str]] = ..., model: _Optional[str] = ..., fingerprint: _Optional[str] = ...) -> None: ...

class TextError(_message.Message):
    __slots__ = ("id", "code", "message")
    ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    id: int
    code: ErrorCode
    message: str
    def __init__(self, id: _Optional[int] = ..., code: _Optional[_Union[ErrorCode, str]] = ..., message: _Optional[str] = ...) -> None: ...

class CountTokensRequest(_message.Message):
    __slots__ = ("options", "texts")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    options: EmbedOptions
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, options: _Optional[_Union[EmbedOptions, _Mapping]] = ..., texts: _Optional[_Iterable[str]] = ...) -> None: ...

class CountTokensResponse(_message.Message):
    __slots__ = ("tokens", "unknown")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedScalarFieldContainer[int]
    unknown: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tokens: _Optional[_Iterable[int]] = ..., unknown: _Optional[_Iterable[int]] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("model", "revision", "fingerprint", "server_version", "languages", "dimensions", "max_tokens", "pooling", "prompts", "device", "dtype", "limits", "reranker", "self_check", "unknown_config_keys")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    POOLING_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    RERANKER_FIELD_NUMBER: _ClassVar[int]
    SELF_CHECK_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CONFIG_KEYS_FIELD_NUMBER: _ClassVar[int]
    model: str
    revision: str
    fingerprint: str
    server_version: str
    languages: _containers.RepeatedScalarFieldContainer[str]
    dimensions: Dimensions
    max_tokens: int
    pooling: str
    prompts: Prompts
    device: str
    dtype: str
    limits: Limits
    reranker: RerankerInfo
    self_check: SelfCheck
    unknown_config_keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., revision: _Optional[str] = ..., fingerprint: _Optional[str] = ..., server_version: _Optional[str] = ..., languages: _Optional[_Iterable[str]] = ..., dimensions: _Optional[_Union[Dimensions, _Mapping]] = ..., max_tokens: _Optional[int] = ..., pooling: _Optional[str] = ..., prompts: _Optional[_Union[Prompts, _Mapping]] = ..., device: _Optional[str] = ..., dtype: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., reranker: _Optional[_Union[RerankerInfo, _Mapping]] = ..., self_check: _Optional[_Union[SelfCheck, _Mapping]] = ..., unknown_config_keys: _Optional[_Iterable[str]] = ...) -> None: ...

class SelfCheck(_message.Message):
    __slots__ = ("lowest_cosine", "texts", "dtype")
    LOWEST_COSINE_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    lowest_cosine: float
    texts: int
    dtype: str
    def __init__(self, lowest_cosine: _Optional[float] = ..., texts: _Optional[int] = ..., dtype: _Optional[str] = ...) -> None: ...

class RerankerInfo(_message.Message):
    __slots__ = ("model", "revision", "fingerprint", "max_tokens", "instruction", "device", "dtype", "self_check", "unknown_config_keys")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SELF_CHECK_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CONFIG_KEYS_FIELD_NUMBER: _ClassVar[int]
    model: str
    revision: str
    fingerprint: str
    max_tokens: int
    instruction: str
    device: str
    dtype: str
    self_check: SelfCheck
    unknown_config_keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., revision: _Optional[str] = ..., fingerprint: _Optional[str] = ..., max_tokens: _Optional[int] = ..., instruction: _Optional[str] = ..., device: _Optional[str] = ..., dtype: _Optional[str] = ..., self_check: _Optional[_Union[SelfCheck, _Mapping]] = ..., unknown_config_keys: _Optional[_Iterable[str]] = ...) -> None: ...

class Dimensions(_message.Message):
    __slots__ = ("native", "smallest")
    NATIVE_FIELD_NUMBER: _ClassVar[int]
    SMALLEST_FIELD_NUMBER: _ClassVar[int]
    native: int
    smallest: int
    def __init__(self, native: _Optional[int] = ..., smallest: _Optional[int] = ...) -> None: ...

class Prompts(_message.Message):
    __slots__ = ("query", "document", "template", "named", "default_name")
    class NamedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    QUERY_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    NAMED_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_NAME_FIELD_NUMBER: _ClassVar[int]
    query: str
    document: str
    template: str
    named: _containers.ScalarMap[str, str]
    default_name: str
    def __init__(self, query: _Optional[str] = ..., document: _Optional[str] = ..., template: _Optional[str] = ..., named: _Optional[_Mapping[str, str]] = ..., default_name: _Optional[str] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("texts_per_request", "bytes_per_text", "bytes_per_message", "tokens_per_batch", "tokens_per_request", "tokens_per_stream")
    TEXTS_PER_REQUEST_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_TEXT_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_BATCH_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_REQUEST_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_STREAM_FIELD_NUMBER: _ClassVar[int]
    texts_per_request: int
    bytes_per_text: int
    bytes_per_message: int
    tokens_per_batch: int
    tokens_per_request: int
    tokens_per_stream: int
    def __init__(self, texts_per_request: _Optional[int] = ..., bytes_per_text: _Optional[int] = ..., bytes_per_message: _Optional[int] = ..., tokens_per_batch: _Optional[int] = ..., tokens_per_request: _Optional[int] = ..., tokens_per_stream: _Optional[int] = ...) -> None: ...

class StatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatsResponse(_message.Message):
    __slots__ = ("uptime_seconds", "queue_seconds", "interactive", "bulk", "clients", "clients_active", "calls", "failures", "texts", "tokens", "bulk_tokens", "texts_expired", "batches", "batch_fill", "busy_seconds", "cost_accuracy", "starved_seconds", "books", "requests_waiting", "bytes_waiting", "saved_tokens")
    class CallsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class FailuresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    INTERACTIVE_FIELD_NUMBER: _ClassVar[int]
    BULK_FIELD_NUMBER: _ClassVar[int]
    CLIENTS_FIELD_NUMBER: _ClassVar[int]
    CLIENTS_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    BULK_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_EXPIRED_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    BATCH_FILL_FIELD_NUMBER: _ClassVar[int]
    BUSY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    COST_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    STARVED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_WAITING_FIELD_NUMBER: _ClassVar[int]
    BYTES_WAITING_FIELD_NUMBER: _ClassVar[int]
    SAVED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    uptime_seconds: float
    queue_seconds: float
    interactive: ClassStats
    bulk: ClassStats
    clients: _containers.RepeatedCompositeFieldContainer[ClientStats]
    clients_active: int
    calls: _containers.ScalarMap[str, int]
    failures: _containers.ScalarMap[str, int]
    texts: int
    tokens: int
    bulk_tokens: int
    texts_expired: int
    batches: int
    batch_fill: float
    busy_seconds: float
    cost_accuracy: float
    starved_seconds: float
    books: Books
    requests_waiting: int
    bytes_waiting: int
    saved_tokens: int
    def __init__(self, uptime_seconds: _Optional[float] = ..., queue_seconds: _Optional[float] = ..., interactive: _Optional[_Union[ClassStats, _Mapping]] = ..., bulk: _Optional[_Union[ClassStats, _Mapping]] = ..., clients: _Optional[_Iterable[_Union[ClientStats, _Mapping]]] = ..., clients_active: _Optional[int] = ..., calls: _Optional[_Mapping[str, int]] = ..., failures: _Optional[_Mapping[str, int]] = ..., texts: _Optional[int] = ..., tokens: _Optional[int] = ..., bulk_tokens: _Optional[int] = ..., texts_expired: _Optional[int] = ..., batches: _Optional[int] = ..., batch_fill: _Optional[float] = ..., busy_seconds: _Optional[float] = ..., cost_accuracy: _Optional[float] = ..., starved_seconds: _Optional[float] = ..., books: _Optional[_Union[Books, _Mapping]] = ..., requests_waiting: _Optional[int] = ..., bytes_waiting: _Optional[int] = ..., saved_tokens: _Optional[int] = ...) -> None: ...

class Books(_message.Message):
    __slots__ = ("accepted", "answered", "failed", "abandoned")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    ABANDONED_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    answered: int
    failed: int
    abandoned: int
    def __init__(self, accepted: _Optional[int] = ..., answered: _Optional[int] = ..., failed: _Optional[int] = ..., abandoned: _Optional[int] = ...) -> None: ...

class ClassStats(_message.Message):
    __slots__ = ("held_seconds", "texts_waiting", "oldest_seconds")
    HELD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_WAITING_FIELD_NUMBER: _ClassVar[int]
    OLDEST_SECONDS_FIELD_NUMBER: _ClassVar[int]
    held_seconds: float
    texts_waiting: int
    oldest_seconds: float
    def __init__(self, held_seconds: _Optional[float] = ..., texts_waiting: _Optional[int] = ..., oldest_seconds: _Optional[float] = ...) -> None: ...

class ClientStats(_message.Message):
    __slots__ = ("client", "request_class", "held_seconds", "oldest_seconds", "streams")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_CLASS_FIELD_NUMBER: _ClassVar[int]
    HELD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    client: str
    request_class: RequestClass
    held_seconds: float
    oldest_seconds: float
    streams: int
    def __init__(self, client: _Optional[str] = ..., request_class: _Optional[_Union[RequestClass, str]] = ..., held_seconds: _Optional[float] = ..., oldest_seconds: _Optional[float] = ..., streams: _Optional[int] = ...) -> None: ...

class ErrorDetail(_message.Message):
    __slots__ = ("code", "index", "retry_after_ms", "request_id")
    CODE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    code: ErrorCode
    index: int
    retry_after_ms: int
    request_id: str
    def __init__(self, code: _Optional[_Union[ErrorCode, str]] = ..., index: _Optional[int] = ..., retry_after_ms: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("code", "message", "details")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    details: _containers.RepeatedCompositeFieldContainer[_any_pb2.Any]
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., details: _Optional[_Iterable[_Union[_any_pb2.Any, _Mapping]]] = ...) -> None: ...
