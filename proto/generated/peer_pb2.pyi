from . import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RefusalCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFUSAL_CODE_UNSPECIFIED: _ClassVar[RefusalCode]
    REFUSAL_CODE_WRONG_DESTINATION: _ClassVar[RefusalCode]
    REFUSAL_CODE_FOREIGN_CLUSTER: _ClassVar[RefusalCode]
    REFUSAL_CODE_PROTOCOL: _ClassVar[RefusalCode]
    REFUSAL_CODE_CLOCK_SKEW: _ClassVar[RefusalCode]
    REFUSAL_CODE_NOT_READY: _ClassVar[RefusalCode]
    REFUSAL_CODE_STOPPING: _ClassVar[RefusalCode]
    REFUSAL_CODE_EXPIRED: _ClassVar[RefusalCode]

class MemberStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MEMBER_STATUS_UNSPECIFIED: _ClassVar[MemberStatus]
    MEMBER_STATUS_JOINING: _ClassVar[MemberStatus]
    MEMBER_STATUS_SERVING: _ClassVar[MemberStatus]
    MEMBER_STATUS_LEAVING: _ClassVar[MemberStatus]
    MEMBER_STATUS_LEFT: _ClassVar[MemberStatus]

class ScanPurpose(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCAN_PURPOSE_UNSPECIFIED: _ClassVar[ScanPurpose]
    SCAN_PURPOSE_KEYS: _ClassVar[ScanPurpose]
    SCAN_PURPOSE_PULL: _ClassVar[ScanPurpose]
REFUSAL_CODE_UNSPECIFIED: RefusalCode
REFUSAL_CODE_WRONG_DESTINATION: RefusalCode
REFUSAL_CODE_FOREIGN_CLUSTER: RefusalCode
REFUSAL_CODE_PROTOCOL: RefusalCode
REFUSAL_CODE_CLOCK_SKEW: RefusalCode
REFUSAL_CODE_NOT_READY: RefusalCode
REFUSAL_CODE_STOPPING: RefusalCode
REFUSAL_CODE_EXPIRED: RefusalCode
MEMBER_STATUS_UNSPECIFIED: MemberStatus
MEMBER_STATUS_JOINING: MemberStatus
MEMBER_STATUS_SERVING: MemberStatus
MEMBER_STATUS_LEAVING: MemberStatus
MEMBER_STATUS_LEFT: MemberStatus
SCAN_PURPOSE_UNSPECIFIED: ScanPurpose
SCAN_PURPOSE_KEYS: ScanPurpose
SCAN_PURPOSE_PULL: ScanPurpose

class Envelope(_message.Message):
    __slots__ = ("source", "generation", "address", "cluster_id", "destination", "timestamp", "protocol", "expires_ms")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    source: _types_pb2.Identity
    generation: int
    address: str
    cluster_id: str
    destination: _types_pb2.Identity
    timestamp: int
    protocol: int
    expires_ms: int
    def __init__(self, source: _Optional[_Union[_types_pb2.Identity, _Mapping]] = ..., generation: _Optional[int] = ..., address: _Optional[str] = ..., cluster_id: _Optional[str] = ..., destination: _Optional[_Union[_types_pb2.Identity, _Mapping]] = ..., timestamp: _Optional[int] = ..., protocol: _Optional[int] = ..., expires_ms: _Optional[int] = ...) -> None: ...

class ControlRequest(_message.Message):
    __slots__ = ("envelope", "hello", "confirm_genesis", "exchange", "news", "probe", "ping", "prepare", "accept", "push_record", "fetch_record", "request_leave", "request_repair", "membership", "recall")
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_GENESIS_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    NEWS_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    PREPARE_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_FIELD_NUMBER: _ClassVar[int]
    PUSH_RECORD_FIELD_NUMBER: _ClassVar[int]
    FETCH_RECORD_FIELD_NUMBER: _ClassVar[int]
    REQUEST_LEAVE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_REPAIR_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    envelope: Envelope
    hello: Hello
    confirm_genesis: ConfirmGenesis
    exchange: Exchange
    news: News
    probe: ProbeRequest
    ping: Ping
    prepare: Prepare
    accept: Accept
    push_record: PushRecord
    fetch_record: FetchRecord
    request_leave: RequestLeave
    request_repair: RequestRepair
    membership: MembershipQuery
    recall: Recall
    def __init__(self, envelope: _Optional[_Union[Envelope, _Mapping]] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., confirm_genesis: _Optional[_Union[ConfirmGenesis, _Mapping]] = ..., exchange: _Optional[_Union[Exchange, _Mapping]] = ..., news: _Optional[_Union[News, _Mapping]] = ..., probe: _Optional[_Union[ProbeRequest, _Mapping]] = ..., ping: _Optional[_Union[Ping, _Mapping]] = ..., prepare: _Optional[_Union[Prepare, _Mapping]] = ..., accept: _Optional[_Union[Accept, _Mapping]] = ..., push_record: _Optional[_Union[PushRecord, _Mapping]] = ..., fetch_record: _Optional[_Union[FetchRecord, _Mapping]] = ..., request_leave: _Optional[_Union[RequestLeave, _Mapping]] = ..., request_repair: _Optional[_Union[RequestRepair, _Mapping]] = ..., membership: _Optional[_Union[MembershipQuery, _Mapping]] = ..., recall: _Optional[_Union[Recall, _Mapping]] = ...) -> None: ...

class Answerer(_message.Message):
    __slots__ = ("source", "generation", "timestamp")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    source: _types_pb2.Identity
    generation: int
    timestamp: int
    def __init__(self, source: _Optional[_Union[_types_pb2.Identity, _Mapping]] = ..., generation: _Optional[int] = ..., timestamp: _Optional[int] = ...) -> None: ...

class ControlReply(_message.Message):
    __slots__ = ("answerer", "epoch_mismatch", "refusal", "hello", "genesis_confirmed", "exchange", "acknowledged", "probe", "agreement", "record", "repair", "membership", "recall")
    ANSWERER_FIELD_NUMBER: _ClassVar[int]
    EPOCH_MISMATCH_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    GENESIS_CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    REPAIR_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    answerer: Answerer
    epoch_mismatch: EpochMismatch
    refusal: Refusal
    hello: HelloReply
    genesis_confirmed: GenesisConfirmed
    exchange: ExchangeReply
    acknowledged: Acknowledged
    probe: ProbeReply
    agreement: AgreementReply
    record: RecordReply
    repair: RepairSummary
    membership: MembershipReply
    recall: RecallReply
    def __init__(self, answerer: _Optional[_Union[Answerer, _Mapping]] = ..., epoch_mismatch: _Optional[_Union[EpochMismatch, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., hello: _Optional[_Union[HelloReply, _Mapping]] = ..., genesis_confirmed: _Optional[_Union[GenesisConfirmed, _Mapping]] = ..., exchange: _Optional[_Union[ExchangeReply, _Mapping]] = ..., acknowledged: _Optional[_Union[Acknowledged, _Mapping]] = ..., probe: _Optional[_Union[ProbeReply, _Mapping]] = ..., agreement: _Optional[_Union[AgreementReply, _Mapping]] = ..., record: _Optional[_Union[RecordReply, _Mapping]] = ..., repair: _Optional[_Union[RepairSummary, _Mapping]] = ..., membership: _Optional[_Union[MembershipReply, _Mapping]] = ..., recall: _Optional[_Union[RecallReply, _Mapping]] = ...) -> None: ...

class DataRequest(_message.Message):
    __slots__ = ("envelope", "batch", "scan", "sizes", "tree", "confirm", "purge", "contribution", "id")
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    SCAN_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    TREE_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_FIELD_NUMBER: _ClassVar[int]
    PURGE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    envelope: Envelope
    batch: DataBatch
    scan: Scan
    sizes: SizeQuery
    tree: TreeQuery
    confirm: Confirm
    purge: Purge
    contribution: Contribution
    id: int
    def __init__(self, envelope: _Optional[_Union[Envelope, _Mapping]] = ..., batch: _Optional[_Union[DataBatch, _Mapping]] = ..., scan: _Optional[_Union[Scan, _Mapping]] = ..., sizes: _Optional[_Union[SizeQuery, _Mapping]] = ..., tree: _Optional[_Union[TreeQuery, _Mapping]] = ..., confirm: _Optional[_Union[Confirm, _Mapping]] = ..., purge: _Optional[_Union[Purge, _Mapping]] = ..., contribution: _Optional[_Union[Contribution, _Mapping]] = ..., id: _Optional[int] = ...) -> None: ...

class DataReply(_message.Message):
    __slots__ = ("answerer", "epoch_mismatch", "refusal", "results", "scan", "sizes", "tree", "confirm", "purge", "contribution", "id")
    ANSWERER_FIELD_NUMBER: _ClassVar[int]
    EPOCH_MISMATCH_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    SCAN_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    TREE_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_FIELD_NUMBER: _ClassVar[int]
    PURGE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    answerer: Answerer
    epoch_mismatch: EpochMismatch
    refusal: Refusal
    results: DataResults
    scan: ScanReply
    sizes: SizeReply
    tree: TreeReply
    confirm: ConfirmReply
    purge: PurgeReply
    contribution: ContributionReply
    id: int
    def __init__(self, answerer: _Optional[_Union[Answerer, _Mapping]] = ..., epoch_mismatch: _Optional[_Union[EpochMismatch, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., results: _Optional[_Union[DataResults, _Mapping]] = ..., scan: _Optional[_Union[ScanReply, _Mapping]] = ..., sizes: _Optional[_Union[SizeReply, _Mapping]] = ..., tree: _Optional[_Union[TreeReply, _Mapping]] = ..., confirm: _Optional[_Union[ConfirmReply, _Mapping]] = ..., purge: _Optional[_Union[PurgeReply, _Mapping]] = ..., contribution: _Optional[_Union[ContributionReply, _Mapping]] = ..., id: _Optional[int] = ...) -> None: ...

class EpochMismatch(_message.Message):
    __slots__ = ("epoch", "record")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    epoch: EpochStamp
    record: bytes
    def __init__(self, epoch: _Optional[_Union[EpochStamp, _Mapping]] = ..., record: _Optional[bytes] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("code", "reason")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    code: RefusalCode
    reason: str
    def __init__(self, code: _Optional[_Union[RefusalCode, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class EpochStamp(_message.Message):
    __slots__ = ("number", "digest")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    number: int
    digest: str
    def __init__(self, number: _Optional[int] = ..., digest: _Optional[str] = ...) -> None: ...

class Freshness(_message.Message):
    __slots__ = ("generation", "version")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    generation: int
    version: int
    def __init__(self, generation: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class MemberRecord(_message.Message):
    __slots__ = ("identity", "freshness", "heartbeat", "address", "status", "zone", "weight", "epoch", "protocol", "load", "handoff", "condition", "process", "mark")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    identity: _types_pb2.Identity
    freshness: Freshness
    heartbeat: int
    address: str
    status: MemberStatus
    zone: str
    weight: float
    epoch: int
    protocol: int
    load: _types_pb2.LoadReport
    handoff: _types_pb2.HandoffProgress
    condition: _types_pb2.Condition
    process: int
    mark: int
    def __init__(self, identity: _Optional[_Union[_types_pb2.Identity, _Mapping]] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ..., heartbeat: _Optional[int] = ..., address: _Optional[str] = ..., status: _Optional[_Union[MemberStatus, str]] = ..., zone: _Optional[str] = ..., weight: _Optional[float] = ..., epoch: _Optional[int] = ..., protocol: _Optional[int] = ..., load: _Optional[_Union[_types_pb2.LoadReport, _Mapping]] = ..., handoff: _Optional[_Union[_types_pb2.HandoffProgress, _Mapping]] = ..., condition: _Optional[_Union[_types_pb2.Condition, _Mapping]] = ..., process: _Optional[int] = ..., mark: _Optional[int] = ...) -> None: ...

class Extent(_message.Message):
    __slots__ = ("generation", "process", "mark")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    generation: int
    process: int
    mark: int
    def __init__(self, generation: _Optional[int] = ..., process: _Optional[int] = ..., mark: _Optional[int] = ...) -> None: ...

class Quorums(_message.Message):
    __slots__ = ("replication_factor", "write_quorum", "read_quorum")
    REPLICATION_FACTOR_FIELD_NUMBER: _ClassVar[int]
    WRITE_QUORUM_FIELD_NUMBER: _ClassVar[int]
    READ_QUORUM_FIELD_NUMBER: _ClassVar[int]
    replication_factor: int
    write_quorum: int
    read_quorum: int
    def __init__(self, replication_factor: _Optional[int] = ..., write_quorum: _Optional[int] = ..., read_quorum: _Optional[int] = ...) -> None: ...

class Recall(_message.Message):
    __slots__ = ("extent",)
    EXTENT_FIELD_NUMBER: _ClassVar[int]
    extent: Extent
    def __init__(self, extent: _Optional[_Union[Extent, _Mapping]] = ...) -> None: ...

class RecallReply(_message.Message):
    __slots__ = ("remembered", "doubtful", "record", "runs_at", "addresses")
    REMEMBERED_FIELD_NUMBER: _ClassVar[int]
    DOUBTFUL_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    RUNS_AT_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    remembered: _containers.RepeatedCompositeFieldContainer[Extent]
    doubtful: bool
    record: bytes
    runs_at: str
    addresses: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, remembered: _Optional[_Iterable[_Union[Extent, _Mapping]]] = ..., doubtful: _Optional[bool] = ..., record: _Optional[bytes] = ..., runs_at: _Optional[str] = ..., addresses: _Optional[_Iterable[str]] = ...) -> None: ...

class GenesisSeat(_message.Message):
    __slots__ = ("address", "identity", "zone", "weight", "quorums", "tokens_per_weight", "seeds", "settings")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    QUORUMS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    address: str
    identity: _types_pb2.Identity
    zone: str
    weight: float
    quorums: Quorums
    tokens_per_weight: int
    seeds: _containers.RepeatedScalarFieldContainer[str]
    settings: str
    def __init__(self, address: _Optional[str] = ..., identity: _Optional[_Union[_types_pb2.Identity, _Mapping]] = ..., zone: _Optional[str] = ..., weight: _Optional[float] = ..., quorums: _Optional[_Union[Quorums, _Mapping]] = ..., tokens_per_weight: _Optional[int] = ..., seeds: _Optional[_Iterable[str]] = ..., settings: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("member", "seat")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    SEAT_FIELD_NUMBER: _ClassVar[int]
    member: MemberRecord
    seat: GenesisSeat
    def __init__(self, member: _Optional[_Union[MemberRecord, _Mapping]] = ..., seat: _Optional[_Union[GenesisSeat, _Mapping]] = ...) -> None: ...

class HelloReply(_message.Message):
    __slots__ = ("member", "record", "seat", "refused", "wall_ms")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    SEAT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    WALL_MS_FIELD_NUMBER: _ClassVar[int]
    member: MemberRecord
    record: bytes
    seat: GenesisSeat
    refused: str
    wall_ms: int
    def __init__(self, member: _Optional[_Union[MemberRecord, _Mapping]] = ..., record: _Optional[bytes] = ..., seat: _Optional[_Union[GenesisSeat, _Mapping]] = ..., refused: _Optional[str] = ..., wall_ms: _Optional[int] = ...) -> None: ...

class ConfirmGenesis(_message.Message):
    __slots__ = ("record",)
    RECORD_FIELD_NUMBER: _ClassVar[int]
    record: bytes
    def __init__(self, record: _Optional[bytes] = ...) -> None: ...

class GenesisConfirmed(_message.Message):
    __slots__ = ("confirmed", "reason", "record")
    CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    confirmed: bool
    reason: str
    record: bytes
    def __init__(self, confirmed: _Optional[bool] = ..., reason: _Optional[str] = ..., record: _Optional[bytes] = ...) -> None: ...

class DigestEntry(_message.Message):
    __slots__ = ("identity", "freshness")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    identity: _types_pb2.Identity
    freshness: Freshness
    def __init__(self, identity: _Optional[_Union[_types_pb2.Identity, _Mapping]] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ...) -> None: ...

class Suspicion(_message.Message):
    __slots__ = ("accused", "freshness", "accuser")
    ACCUSED_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    ACCUSER_FIELD_NUMBER: _ClassVar[int]
    accused: _types_pb2.Identity
    freshness: Freshness
    accuser: _types_pb2.Identity
    def __init__(self, accused: _Optional[_Union[_types_pb2.Identity, _Mapping]] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ..., accuser: _Optional[_Union[_types_pb2.Identity, _Mapping]] = ...) -> None: ...

class Exchange(_message.Message):
    __slots__ = ("digest", "suspicions", "epoch", "remembered")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SUSPICIONS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REMEMBERED_FIELD_NUMBER: _ClassVar[int]
    digest: _containers.RepeatedCompositeFieldContainer[DigestEntry]
    suspicions: _containers.RepeatedCompositeFieldContainer[Suspicion]
    epoch: EpochStamp
    remembered: _containers.RepeatedCompositeFieldContainer[Extent]
    def __init__(self, digest: _Optional[_Iterable[_Union[DigestEntry, _Mapping]]] = ..., suspicions: _Optional[_Iterable[_Union[Suspicion, _Mapping]]] = ..., epoch: _Optional[_Union[EpochStamp, _Mapping]] = ..., remembered: _Optional[_Iterable[_Union[Extent, _Mapping]]] = ...) -> None: ...

class ExchangeReply(_message.Message):
    __slots__ = ("records", "wanted", "suspicions", "epoch", "wall_ms", "remembered")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    SUSPICIONS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    WALL_MS_FIELD_NUMBER: _ClassVar[int]
    REMEMBERED_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[MemberRecord]
    wanted: _containers.RepeatedCompositeFieldContainer[DigestEntry]
    suspicions: _containers.RepeatedCompositeFieldContainer[Suspicion]
    epoch: EpochStamp
    wall_ms: int
    remembered: _containers.RepeatedCompositeFieldContainer[Extent]
    def __init__(self, records: _Optional[_Iterable[_Union[MemberRecord, _Mapping]]] = ..., wanted: _Optional[_Iterable[_Union[DigestEntry, _Mapping]]] = ..., suspicions: _Optional[_Iterable[_Union[Suspicion, _Mapping]]] = ..., epoch: _Optional[_Union[EpochStamp, _Mapping]] = ..., wall_ms: _Optional[int] = ..., remembered: _Optional[_Iterable[_Union[Extent, _Mapping]]] = ...) -> None: ...

class News(_message.Message):
    __slots__ = ("records", "suspicions", "epoch")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    SUSPICIONS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[MemberRecord]
    suspicions: _containers.RepeatedCompositeFieldContainer[Suspicion]
    epoch: EpochStamp
    def __init__(self, records: _Optional[_Iterable[_Union[MemberRecord, _Mapping]]] = ..., suspicions: _Optional[_Iterable[_Union[Suspicion, _Mapping]]] = ..., epoch: _Optional[_Union[EpochStamp, _Mapping]] = ...) -> None: ...

class ProbeRequest(_message.Message):
    __slots__ = ("target", "address")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    target: _types_pb2.Identity
    address: str
    def __init__(self, target: _Optional[_Union[_types_pb2.Identity, _Mapping]] = ..., address: _Optional[str] = ...) -> None: ...

class ProbeReply(_message.Message):
    __slots__ = ("reached",)
    REACHED_FIELD_NUMBER: _ClassVar[int]
    reached: bool
    def __init__(self, reached: _Optional[bool] = ...) -> None: ...

class Ping(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Ballot(_message.Message):
    __slots__ = ("round", "proposer")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PROPOSER_FIELD_NUMBER: _ClassVar[int]
    round: int
    proposer: _types_pb2.Identity
    def __init__(self, round: _Optional[int] = ..., proposer: _Optional[_Union[_types_pb2.Identity, _Mapping]] = ...) -> None: ...

class Prepare(_message.Message):
    __slots__ = ("base", "ballot")
    BASE_FIELD_NUMBER: _ClassVar[int]
    BALLOT_FIELD_NUMBER: _ClassVar[int]
    base: bytes
    ballot: Ballot
    def __init__(self, base: _Optional[bytes] = ..., ballot: _Optional[_Union[Ballot, _Mapping]] = ...) -> None: ...

class Accept(_message.Message):
    __slots__ = ("base", "ballot", "proposal", "bound")
    BASE_FIELD_NUMBER: _ClassVar[int]
    BALLOT_FIELD_NUMBER: _ClassVar[int]
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    base: EpochStamp
    ballot: Ballot
    proposal: bytes
    bound: bool
    def __init__(self, base: _Optional[_Union[EpochStamp, _Mapping]] = ..., ballot: _Optional[_Union[Ballot, _Mapping]] = ..., proposal: _Optional[bytes] = ..., bound: _Optional[bool] = ...) -> None: ...

class AgreementReply(_message.Message):
    __slots__ = ("granted", "promised", "accepted_ballot", "accepted", "newer", "reason")
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    PROMISED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_BALLOT_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    NEWER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    granted: bool
    promised: Ballot
    accepted_ballot: Ballot
    accepted: bytes
    newer: bytes
    reason: str
    def __init__(self, granted: _Optional[bool] = ..., promised: _Optional[_Union[Ballot, _Mapping]] = ..., accepted_ballot: _Optional[_Union[Ballot, _Mapping]] = ..., accepted: _Optional[bytes] = ..., newer: _Optional[bytes] = ..., reason: _Optional[str] = ...) -> None: ...

class PushRecord(_message.Message):
    __slots__ = ("record",)
    RECORD_FIELD_NUMBER: _ClassVar[int]
    record: bytes
    def __init__(self, record: _Optional[bytes] = ...) -> None: ...

class FetchRecord(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RecordReply(_message.Message):
    __slots__ = ("record",)
    RECORD_FIELD_NUMBER: _ClassVar[int]
    record: bytes
    def __init__(self, record: _Optional[bytes] = ...) -> None: ...

class RequestLeave(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Acknowledged(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RequestRepair(_message.Message):
    __slots__ = ("timeout_ms",)
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    timeout_ms: int
    def __init__(self, timeout_ms: _Optional[int] = ...) -> None: ...

class RepairSummary(_message.Message):
    __slots__ = ("compared", "differing", "received", "sent", "bytes", "unfinished")
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    DIFFERING_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    UNFINISHED_FIELD_NUMBER: _ClassVar[int]
    compared: int
    differing: int
    received: int
    sent: int
    bytes: int
    unfinished: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, compared: _Optional[int] = ..., differing: _Optional[int] = ..., received: _Optional[int] = ..., sent: _Optional[int] = ..., bytes: _Optional[int] = ..., unfinished: _Optional[_Iterable[str]] = ...) -> None: ...

class Versions(_message.Message):
    __slots__ = ("timestamps", "disk_ids", "generations")
    TIMESTAMPS_FIELD_NUMBER: _ClassVar[int]
    DISK_IDS_FIELD_NUMBER: _ClassVar[int]
    GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    timestamps: _containers.RepeatedScalarFieldContainer[int]
    disk_ids: _containers.RepeatedScalarFieldContainer[int]
    generations: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, timestamps: _Optional[_Iterable[int]] = ..., disk_ids: _Optional[_Iterable[int]] = ..., generations: _Optional[_Iterable[int]] = ...) -> None: ...

class DataBatch(_message.Message):
    __slots__ = ("epoch", "kinds", "keys", "versions", "values")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    epoch: EpochStamp
    kinds: bytes
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    versions: Versions
    values: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, epoch: _Optional[_Union[EpochStamp, _Mapping]] = ..., kinds: _Optional[bytes] = ..., keys: _Optional[_Iterable[bytes]] = ..., versions: _Optional[_Union[Versions, _Mapping]] = ..., values: _Optional[_Iterable[bytes]] = ...) -> None: ...

class DataResults(_message.Message):
    __slots__ = ("epoch", "kinds", "versions", "values", "reasons", "queue_depth", "service_time_ms")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    SERVICE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    epoch: EpochStamp
    kinds: bytes
    versions: Versions
    values: _containers.RepeatedScalarFieldContainer[bytes]
    reasons: _containers.RepeatedScalarFieldContainer[str]
    queue_depth: int
    service_time_ms: float
    def __init__(self, epoch: _Optional[_Union[EpochStamp, _Mapping]] = ..., kinds: _Optional[bytes] = ..., versions: _Optional[_Union[Versions, _Mapping]] = ..., values: _Optional[_Iterable[bytes]] = ..., reasons: _Optional[_Iterable[str]] = ..., queue_depth: _Optional[int] = ..., service_time_ms: _Optional[float] = ...) -> None: ...

class TokenRange(_message.Message):
    __slots__ = ("after", "upto")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    UPTO_FIELD_NUMBER: _ClassVar[int]
    after: int
    upto: int
    def __init__(self, after: _Optional[int] = ..., upto: _Optional[int] = ...) -> None: ...

class Cursor(_message.Message):
    __slots__ = ("token", "key")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    token: int
    key: bytes
    def __init__(self, token: _Optional[int] = ..., key: _Optional[bytes] = ...) -> None: ...

class Scan(_message.Message):
    __slots__ = ("epoch", "purpose", "span", "after", "max_entries", "max_bytes", "prefix")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    MAX_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    epoch: EpochStamp
    purpose: ScanPurpose
    span: TokenRange
    after: Cursor
    max_entries: int
    max_bytes: int
    prefix: bytes
    def __init__(self, epoch: _Optional[_Union[EpochStamp, _Mapping]] = ..., purpose: _Optional[_Union[ScanPurpose, str]] = ..., span: _Optional[_Union[TokenRange, _Mapping]] = ..., after: _Optional[_Union[Cursor, _Mapping]] = ..., max_entries: _Optional[int] = ..., max_bytes: _Optional[int] = ..., prefix: _Optional[bytes] = ...) -> None: ...

class ScanReply(_message.Message):
    __slots__ = ("epoch", "kinds", "keys", "versions", "values", "next", "checksum")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    epoch: EpochStamp
    kinds: bytes
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    versions: Versions
    values: _containers.RepeatedScalarFieldContainer[bytes]
    next: Cursor
    checksum: int
    def __init__(self, epoch: _Optional[_Union[EpochStamp, _Mapping]] = ..., kinds: _Optional[bytes] = ..., keys: _Optional[_Iterable[bytes]] = ..., versions: _Optional[_Union[Versions, _Mapping]] = ..., values: _Optional[_Iterable[bytes]] = ..., next: _Optional[_Union[Cursor, _Mapping]] = ..., checksum: _Optional[int] = ...) -> None: ...

class SizeQuery(_message.Message):
    __slots__ = ("epoch", "spans")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    epoch: EpochStamp
    spans: _containers.RepeatedCompositeFieldContainer[TokenRange]
    def __init__(self, epoch: _Optional[_Union[EpochStamp, _Mapping]] = ..., spans: _Optional[_Iterable[_Union[TokenRange, _Mapping]]] = ...) -> None: ...

class SizeReply(_message.Message):
    __slots__ = ("sizes",)
    SIZES_FIELD_NUMBER: _ClassVar[int]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sizes: _Optional[_Iterable[int]] = ...) -> None: ...

class TreeQuery(_message.Message):
    __slots__ = ("epoch", "groups")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    epoch: EpochStamp
    groups: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, epoch: _Optional[_Union[EpochStamp, _Mapping]] = ..., groups: _Optional[_Iterable[int]] = ...) -> None: ...

class TreeReply(_message.Message):
    __slots__ = ("digests", "unknown")
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    digests: _containers.RepeatedScalarFieldContainer[int]
    unknown: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, digests: _Optional[_Iterable[int]] = ..., unknown: _Optional[_Iterable[int]] = ...) -> None: ...

class Confirm(_message.Message):
    __slots__ = ("epoch", "keys", "versions")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    epoch: EpochStamp
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    versions: Versions
    def __init__(self, epoch: _Optional[_Union[EpochStamp, _Mapping]] = ..., keys: _Optional[_Iterable[bytes]] = ..., versions: _Optional[_Union[Versions, _Mapping]] = ...) -> None: ...

class ConfirmReply(_message.Message):
    __slots__ = ("epoch", "confirmed")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    epoch: EpochStamp
    confirmed: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, epoch: _Optional[_Union[EpochStamp, _Mapping]] = ..., confirmed: _Optional[_Iterable[bool]] = ...) -> None: ...

class Purge(_message.Message):
    __slots__ = ("epoch", "confirmed_epoch", "keys", "versions")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_EPOCH_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    epoch: EpochStamp
    confirmed_epoch: int
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    versions: Versions
    def __init__(self, epoch: _Optional[_Union[EpochStamp, _Mapping]] = ..., confirmed_epoch: _Optional[int] = ..., keys: _Optional[_Iterable[bytes]] = ..., versions: _Optional[_Union[Versions, _Mapping]] = ...) -> None: ...

class PurgeReply(_message.Message):
    __slots__ = ("epoch", "purged")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PURGED_FIELD_NUMBER: _ClassVar[int]
    epoch: EpochStamp
    purged: int
    def __init__(self, epoch: _Optional[_Union[EpochStamp, _Mapping]] = ..., purged: _Optional[int] = ...) -> None: ...

class MembershipQuery(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MembershipReply(_message.Message):
    __slots__ = ("counted", "record", "owners_up", "members", "addresses")
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    OWNERS_UP_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    counted: bool
    record: bytes
    owners_up: int
    members: _containers.RepeatedCompositeFieldContainer[_types_pb2.Identity]
    addresses: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, counted: _Optional[bool] = ..., record: _Optional[bytes] = ..., owners_up: _Optional[int] = ..., members: _Optional[_Iterable[_Union[_types_pb2.Identity, _Mapping]]] = ..., addresses: _Optional[_Iterable[str]] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("cluster_id", "kinds", "keys", "versions", "values", "written", "last")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    kinds: bytes
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    versions: Versions
    values: _containers.RepeatedScalarFieldContainer[bytes]
    written: int
    last: bool
    def __init__(self, cluster_id: _Optional[str] = ..., kinds: _Optional[bytes] = ..., keys: _Optional[_Iterable[bytes]] = ..., versions: _Optional[_Union[Versions, _Mapping]] = ..., values: _Optional[_Iterable[bytes]] = ..., written: _Optional[int] = ..., last: _Optional[bool] = ...) -> None: ...

class ContributionReply(_message.Message):
    __slots__ = ("trouble",)
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    trouble: str
    def __init__(self, trouble: _Optional[str] = ...) -> None: ...
