from . import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Level(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEVEL_UNSPECIFIED: _ClassVar[Level]
    LEVEL_ONE: _ClassVar[Level]
    LEVEL_QUORUM: _ClassVar[Level]
    LEVEL_ALL: _ClassVar[Level]

class ErrorCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_CODE_UNSPECIFIED: _ClassVar[ErrorCode]
    ERROR_CODE_INVALID_REQUEST: _ClassVar[ErrorCode]
    ERROR_CODE_UNAVAILABLE: _ClassVar[ErrorCode]
    ERROR_CODE_OVERLOADED: _ClassVar[ErrorCode]
    ERROR_CODE_TIMEOUT: _ClassVar[ErrorCode]
    ERROR_CODE_REFUSED: _ClassVar[ErrorCode]
    ERROR_CODE_UNKNOWN_NODE: _ClassVar[ErrorCode]
    ERROR_CODE_INTERNAL: _ClassVar[ErrorCode]
    ERROR_CODE_WRONG_CLUSTER: _ClassVar[ErrorCode]
LEVEL_UNSPECIFIED: Level
LEVEL_ONE: Level
LEVEL_QUORUM: Level
LEVEL_ALL: Level
ERROR_CODE_UNSPECIFIED: ErrorCode
ERROR_CODE_INVALID_REQUEST: ErrorCode
ERROR_CODE_UNAVAILABLE: ErrorCode
ERROR_CODE_OVERLOADED: ErrorCode
ERROR_CODE_TIMEOUT: ErrorCode
ERROR_CODE_REFUSED: ErrorCode
ERROR_CODE_UNKNOWN_NODE: ErrorCode
ERROR_CODE_INTERNAL: ErrorCode
ERROR_CODE_WRONG_CLUSTER: ErrorCode

class Consistency(_message.Message):
    __slots__ = ("level", "replicas")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    level: Level
    replicas: int
    def __init__(self, level: _Optional[_Union[Level, str]] = ..., replicas: _Optional[int] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("key", "consistency", "seen_timestamp", "timeout", "cluster_id", "sent_ms")
    KEY_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    SEEN_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    SENT_MS_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    consistency: Consistency
    seen_timestamp: int
    timeout: float
    cluster_id: str
    sent_ms: int
    def __init__(self, key: _Optional[bytes] = ..., consistency: _Optional[_Union[Consistency, _Mapping]] = ..., seen_timestamp: _Optional[int] = ..., timeout: _Optional[float] = ..., cluster_id: _Optional[str] = ..., sent_ms: _Optional[int] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("found", "value", "version")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    found: bool
    value: bytes
    version: _types_pb2.Version
    def __init__(self, found: _Optional[bool] = ..., value: _Optional[bytes] = ..., version: _Optional[_Union[_types_pb2.Version, _Mapping]] = ...) -> None: ...

class PutRequest(_message.Message):
    __slots__ = ("key", "value", "consistency", "seen_timestamp", "timeout", "cluster_id", "sent_ms", "begin_within_ms")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    SEEN_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    SENT_MS_FIELD_NUMBER: _ClassVar[int]
    BEGIN_WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    consistency: Consistency
    seen_timestamp: int
    timeout: float
    cluster_id: str
    sent_ms: int
    begin_within_ms: int
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., consistency: _Optional[_Union[Consistency, _Mapping]] = ..., seen_timestamp: _Optional[int] = ..., timeout: _Optional[float] = ..., cluster_id: _Optional[str] = ..., sent_ms: _Optional[int] = ..., begin_within_ms: _Optional[int] = ...) -> None: ...

class PutResponse(_message.Message):
    __slots__ = ("version", "superseded")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDED_FIELD_NUMBER: _ClassVar[int]
    version: _types_pb2.Version
    superseded: bool
    def __init__(self, version: _Optional[_Union[_types_pb2.Version, _Mapping]] = ..., superseded: _Optional[bool] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("key", "consistency", "seen_timestamp", "timeout", "cluster_id", "sent_ms", "begin_within_ms")
    KEY_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    SEEN_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    SENT_MS_FIELD_NUMBER: _ClassVar[int]
    BEGIN_WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    consistency: Consistency
    seen_timestamp: int
    timeout: float
    cluster_id: str
    sent_ms: int
    begin_within_ms: int
    def __init__(self, key: _Optional[bytes] = ..., consistency: _Optional[_Union[Consistency, _Mapping]] = ..., seen_timestamp: _Optional[int] = ..., timeout: _Optional[float] = ..., cluster_id: _Optional[str] = ..., sent_ms: _Optional[int] = ..., begin_within_ms: _Optional[int] = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ("version", "superseded")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDED_FIELD_NUMBER: _ClassVar[int]
    version: _types_pb2.Version
    superseded: bool
    def __init__(self, version: _Optional[_Union[_types_pb2.Version, _Mapping]] = ..., superseded: _Optional[bool] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ("get", "put", "delete")
    GET_FIELD_NUMBER: _ClassVar[int]
    PUT_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    get: GetRequest
    put: PutRequest
    delete: DeleteRequest
    def __init__(self, get: _Optional[_Union[GetRequest, _Mapping]] = ..., put: _Optional[_Union[PutRequest, _Mapping]] = ..., delete: _Optional[_Union[DeleteRequest, _Mapping]] = ...) -> None: ...

class BatchRequest(_message.Message):
    __slots__ = ("operations", "cluster_id")
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    operations: _containers.RepeatedCompositeFieldContainer[Operation]
    cluster_id: str
    def __init__(self, operations: _Optional[_Iterable[_Union[Operation, _Mapping]]] = ..., cluster_id: _Optional[str] = ...) -> None: ...

class OperationFailure(_message.Message):
    __slots__ = ("code", "message", "maybe_applied", "retry_after")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MAYBE_APPLIED_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    code: ErrorCode
    message: str
    maybe_applied: bool
    retry_after: float
    def __init__(self, code: _Optional[_Union[ErrorCode, str]] = ..., message: _Optional[str] = ..., maybe_applied: _Optional[bool] = ..., retry_after: _Optional[float] = ...) -> None: ...

class OperationResult(_message.Message):
    __slots__ = ("get", "put", "delete", "failure")
    GET_FIELD_NUMBER: _ClassVar[int]
    PUT_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    get: GetResponse
    put: PutResponse
    delete: DeleteResponse
    failure: OperationFailure
    def __init__(self, get: _Optional[_Union[GetResponse, _Mapping]] = ..., put: _Optional[_Union[PutResponse, _Mapping]] = ..., delete: _Optional[_Union[DeleteResponse, _Mapping]] = ..., failure: _Optional[_Union[OperationFailure, _Mapping]] = ...) -> None: ...

class BatchResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[OperationResult]
    def __init__(self, results: _Optional[_Iterable[_Union[OperationResult, _Mapping]]] = ...) -> None: ...

class OperateRequest(_message.Message):
    __slots__ = ("id", "kinds", "keys", "values", "timeouts_ms", "consistencies", "seen_timestamp", "cluster_id", "sent_ms", "begin_within_ms", "lost_timestamp")
    ID_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    TIMEOUTS_MS_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCIES_FIELD_NUMBER: _ClassVar[int]
    SEEN_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    SENT_MS_FIELD_NUMBER: _ClassVar[int]
    BEGIN_WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
    LOST_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    id: int
    kinds: bytes
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    values: _containers.RepeatedScalarFieldContainer[bytes]
    timeouts_ms: _containers.RepeatedScalarFieldContainer[int]
    consistencies: _containers.RepeatedCompositeFieldContainer[Consistency]
    seen_timestamp: int
    cluster_id: str
    sent_ms: int
    begin_within_ms: int
    lost_timestamp: int
    def __init__(self, id: _Optional[int] = ..., kinds: _Optional[bytes] = ..., keys: _Optional[_Iterable[bytes]] = ..., values: _Optional[_Iterable[bytes]] = ..., timeouts_ms: _Optional[_Iterable[int]] = ..., consistencies: _Optional[_Iterable[_Union[Consistency, _Mapping]]] = ..., seen_timestamp: _Optional[int] = ..., cluster_id: _Optional[str] = ..., sent_ms: _Optional[int] = ..., begin_within_ms: _Optional[int] = ..., lost_timestamp: _Optional[int] = ...) -> None: ...

class OperateReply(_message.Message):
    __slots__ = ("id", "places", "kinds", "values", "timestamps", "disk_id", "generation", "failures", "seen_timestamp", "queue_depth", "clock_ms", "cluster_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMPS_FIELD_NUMBER: _ClassVar[int]
    DISK_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    SEEN_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    CLOCK_MS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    places: _containers.RepeatedScalarFieldContainer[int]
    kinds: bytes
    values: _containers.RepeatedScalarFieldContainer[bytes]
    timestamps: _containers.RepeatedScalarFieldContainer[int]
    disk_id: int
    generation: int
    failures: _containers.RepeatedCompositeFieldContainer[OperationFailure]
    seen_timestamp: int
    queue_depth: int
    clock_ms: int
    cluster_id: str
    def __init__(self, id: _Optional[int] = ..., places: _Optional[_Iterable[int]] = ..., kinds: _Optional[bytes] = ..., values: _Optional[_Iterable[bytes]] = ..., timestamps: _Optional[_Iterable[int]] = ..., disk_id: _Optional[int] = ..., generation: _Optional[int] = ..., failures: _Optional[_Iterable[_Union[OperationFailure, _Mapping]]] = ..., seen_timestamp: _Optional[int] = ..., queue_depth: _Optional[int] = ..., clock_ms: _Optional[int] = ..., cluster_id: _Optional[str] = ...) -> None: ...

class KeysRequest(_message.Message):
    __slots__ = ("prefix", "timeout", "after_key", "cluster_id")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    AFTER_KEY_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    prefix: bytes
    timeout: float
    after_key: bytes
    cluster_id: str
    def __init__(self, prefix: _Optional[bytes] = ..., timeout: _Optional[float] = ..., after_key: _Optional[bytes] = ..., cluster_id: _Optional[str] = ...) -> None: ...

class KeysResponse(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, keys: _Optional[_Iterable[bytes]] = ...) -> None: ...
