from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Version(_message.Message):
    __slots__ = ("timestamp", "disk_id", "generation")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    DISK_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    timestamp: int
    disk_id: int
    generation: int
    def __init__(self, timestamp: _Optional[int] = ..., disk_id: _Optional[int] = ..., generation: _Optional[int] = ...) -> None: ...

class Identity(_message.Message):
    __slots__ = ("name", "disk_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISK_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    disk_id: int
    def __init__(self, name: _Optional[str] = ..., disk_id: _Optional[int] = ...) -> None: ...

class LoadReport(_message.Message):
    __slots__ = ("in_flight", "queue_depth", "service_time_ms", "cpu", "keys", "bytes")
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    SERVICE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    in_flight: int
    queue_depth: int
    service_time_ms: float
    cpu: float
    keys: int
    bytes: int
    def __init__(self, in_flight: _Optional[int] = ..., queue_depth: _Optional[int] = ..., service_time_ms: _Optional[float] = ..., cpu: _Optional[float] = ..., keys: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("hints", "comparisons", "quarantined", "floor_wanted", "disk_full", "clock_off_ms", "needs_restart", "keys_ahead")
    HINTS_FIELD_NUMBER: _ClassVar[int]
    COMPARISONS_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    FLOOR_WANTED_FIELD_NUMBER: _ClassVar[int]
    DISK_FULL_FIELD_NUMBER: _ClassVar[int]
    CLOCK_OFF_MS_FIELD_NUMBER: _ClassVar[int]
    NEEDS_RESTART_FIELD_NUMBER: _ClassVar[int]
    KEYS_AHEAD_FIELD_NUMBER: _ClassVar[int]
    hints: int
    comparisons: int
    quarantined: int
    floor_wanted: int
    disk_full: bool
    clock_off_ms: int
    needs_restart: bool
    keys_ahead: int
    def __init__(self, hints: _Optional[int] = ..., comparisons: _Optional[int] = ..., quarantined: _Optional[int] = ..., floor_wanted: _Optional[int] = ..., disk_full: _Optional[bool] = ..., clock_off_ms: _Optional[int] = ..., needs_restart: _Optional[bool] = ..., keys_ahead: _Optional[int] = ...) -> None: ...

class HandoffProgress(_message.Message):
    __slots__ = ("epoch", "bytes_done", "bytes_total", "done")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    BYTES_DONE_FIELD_NUMBER: _ClassVar[int]
    BYTES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    bytes_done: int
    bytes_total: int
    done: bool
    def __init__(self, epoch: _Optional[int] = ..., bytes_done: _Optional[int] = ..., bytes_total: _Optional[int] = ..., done: _Optional[bool] = ...) -> None: ...
