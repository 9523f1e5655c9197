from . import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StatusRequest(_message.Message):
    __slots__ = ("cluster_id",)
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    def __init__(self, cluster_id: _Optional[str] = ...) -> None: ...

class NodeStatus(_message.Message):
    __slots__ = ("identity", "address", "zone", "state", "owner", "generation", "heartbeat_age_s", "ownership", "keys", "load", "handoff", "epoch", "weight", "condition")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_AGE_S_FIELD_NUMBER: _ClassVar[int]
    OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    identity: _types_pb2.Identity
    address: str
    zone: str
    state: str
    owner: bool
    generation: int
    heartbeat_age_s: float
    ownership: float
    keys: int
    load: _types_pb2.LoadReport
    handoff: _types_pb2.HandoffProgress
    epoch: int
    weight: float
    condition: _types_pb2.Condition
    def __init__(self, identity: _Optional[_Union[_types_pb2.Identity, _Mapping]] = ..., address: _Optional[str] = ..., zone: _Optional[str] = ..., state: _Optional[str] = ..., owner: _Optional[bool] = ..., generation: _Optional[int] = ..., heartbeat_age_s: _Optional[float] = ..., ownership: _Optional[float] = ..., keys: _Optional[int] = ..., load: _Optional[_Union[_types_pb2.LoadReport, _Mapping]] = ..., handoff: _Optional[_Union[_types_pb2.HandoffProgress, _Mapping]] = ..., epoch: _Optional[int] = ..., weight: _Optional[float] = ..., condition: _Optional[_Union[_types_pb2.Condition, _Mapping]] = ...) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("cluster_id", "epoch", "changing", "synced", "nodes", "answered_by", "notes", "replication_factor", "write_quorum", "read_quorum")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CHANGING_FIELD_NUMBER: _ClassVar[int]
    SYNCED_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_BY_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    REPLICATION_FACTOR_FIELD_NUMBER: _ClassVar[int]
    WRITE_QUORUM_FIELD_NUMBER: _ClassVar[int]
    READ_QUORUM_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    epoch: int
    changing: bool
    synced: bool
    nodes: _containers.RepeatedCompositeFieldContainer[NodeStatus]
    answered_by: str
    notes: _containers.RepeatedScalarFieldContainer[str]
    replication_factor: int
    write_quorum: int
    read_quorum: int
    def __init__(self, cluster_id: _Optional[str] = ..., epoch: _Optional[int] = ..., changing: _Optional[bool] = ..., synced: _Optional[bool] = ..., nodes: _Optional[_Iterable[_Union[NodeStatus, _Mapping]]] = ..., answered_by: _Optional[str] = ..., notes: _Optional[_Iterable[str]] = ..., replication_factor: _Optional[int] = ..., write_quorum: _Optional[int] = ..., read_quorum: _Optional[int] = ...) -> None: ...

class RingRequest(_message.Message):
    __slots__ = ("cluster_id",)
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    def __init__(self, cluster_id: _Optional[str] = ...) -> None: ...

class RingResponse(_message.Message):
    __slots__ = ("record", "addresses", "clock_ms", "cluster_id")
    class AddressesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RECORD_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    CLOCK_MS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    record: bytes
    addresses: _containers.ScalarMap[str, str]
    clock_ms: int
    cluster_id: str
    def __init__(self, record: _Optional[bytes] = ..., addresses: _Optional[_Mapping[str, str]] = ..., clock_ms: _Optional[int] = ..., cluster_id: _Optional[str] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("key", "cluster_id")
    KEY_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    cluster_id: str
    def __init__(self, key: _Optional[bytes] = ..., cluster_id: _Optional[str] = ...) -> None: ...

class ReplicaReport(_message.Message):
    __slots__ = ("name", "state", "answered", "version", "tombstone", "bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TOMBSTONE_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    answered: bool
    version: _types_pb2.Version
    tombstone: bool
    bytes: int
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., answered: _Optional[bool] = ..., version: _Optional[_Union[_types_pb2.Version, _Mapping]] = ..., tombstone: _Optional[bool] = ..., bytes: _Optional[int] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("key", "token", "epoch", "replicas", "reachable", "read_quorum", "write_quorum")
    KEY_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    REACHABLE_FIELD_NUMBER: _ClassVar[int]
    READ_QUORUM_FIELD_NUMBER: _ClassVar[int]
    WRITE_QUORUM_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    token: int
    epoch: int
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaReport]
    reachable: int
    read_quorum: int
    write_quorum: int
    def __init__(self, key: _Optional[bytes] = ..., token: _Optional[int] = ..., epoch: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[ReplicaReport, _Mapping]]] = ..., reachable: _Optional[int] = ..., read_quorum: _Optional[int] = ..., write_quorum: _Optional[int] = ...) -> None: ...

class LeaveRequest(_message.Message):
    __slots__ = ("name", "timeout", "cluster_id", "sent_ms")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    SENT_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    timeout: float
    cluster_id: str
    sent_ms: int
    def __init__(self, name: _Optional[str] = ..., timeout: _Optional[float] = ..., cluster_id: _Optional[str] = ..., sent_ms: _Optional[int] = ...) -> None: ...

class LeaveResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RemoveRequest(_message.Message):
    __slots__ = ("name", "timeout", "cluster_id", "sent_ms")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    SENT_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    timeout: float
    cluster_id: str
    sent_ms: int
    def __init__(self, name: _Optional[str] = ..., timeout: _Optional[float] = ..., cluster_id: _Optional[str] = ..., sent_ms: _Optional[int] = ...) -> None: ...

class RemoveResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RepairRequest(_message.Message):
    __slots__ = ("timeout", "cluster_id", "sent_ms")
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    SENT_MS_FIELD_NUMBER: _ClassVar[int]
    timeout: float
    cluster_id: str
    sent_ms: int
    def __init__(self, timeout: _Optional[float] = ..., cluster_id: _Optional[str] = ..., sent_ms: _Optional[int] = ...) -> None: ...

class NodeRepair(_message.Message):
    __slots__ = ("name", "compared", "differing", "received", "sent", "bytes", "unfinished", "failure")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    DIFFERING_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    UNFINISHED_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    name: str
    compared: int
    differing: int
    received: int
    sent: int
    bytes: int
    unfinished: _containers.RepeatedScalarFieldContainer[str]
    failure: str
    def __init__(self, name: _Optional[str] = ..., compared: _Optional[int] = ..., differing: _Optional[int] = ..., received: _Optional[int] = ..., sent: _Optional[int] = ..., bytes: _Optional[int] = ..., unfinished: _Optional[_Iterable[str]] = ..., failure: _Optional[str] = ...) -> None: ...

class RepairResponse(_message.Message):
    __slots__ = ("nodes", "down")
    NODES_FIELD_NUMBER: _ClassVar[int]
    DOWN_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeRepair]
    down: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodeRepair, _Mapping]]] = ..., down: _Optional[_Iterable[str]] = ...) -> None: ...
