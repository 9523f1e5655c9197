"""Where settings come from, which wins, and what is refused in which words."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from covey.node.config.config import SETTINGS, Config, Durability
from covey.node.errors import ConfigurationError
from covey.node.events import Level

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "seeds.json"


def load(file: Path, **content: Any) -> Config:
    file.write_text(json.dumps(content))
    return Config.load(file, {}, {})


def refusal_of(file: Path, content: str) -> str:
    file.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        Config.load(file, {}, {})
    assert str(caught.value).startswith(str(file))
    return str(caught.value).removeprefix(str(file))


# --- sources ---


def test_nothing_given_is_all_defaults() -> None:
    config = Config.load(None, {}, {})
    assert config == Config()
    assert {key: getattr(config, key) for key in SETTINGS} == {
        key: row.default for key, row in SETTINGS.items()
    }


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(file: Path) -> None:
    file.write_text('{"rpc_timeout": 1, "heartbeat_interval": 1.5, "evict_after": 20}')
    environ = {"COVEY_SET_RPC_TIMEOUT": "2.5", "COVEY_SET_HEARTBEAT_INTERVAL": "2.5", "PATH": "/bin"}
    config = Config.load(file, environ, {"rpc_timeout": "3.5"})
    assert (config.rpc_timeout, config.heartbeat_interval, config.evict_after) == (3.5, 2.5, 20.0)
    assert config.request_timeout == SETTINGS["request_timeout"].default


def test_a_whole_number_will_do_for_seconds(file: Path) -> None:
    assert isinstance(load(file, heartbeat_interval=2).heartbeat_interval, float)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("cluster_size", "5", 5),
        ("max_clock_skew", ".25", 0.25),
        ("allow_weak_quorums", "true", True),
        ("allow_weak_quorums", "False", False),
        ("durability", "periodic", Durability.PERIODIC),
        ("log_level", "debug", Level.DEBUG),
        ("seeds", "a:1, [::1]:2", ("a:1", "[::1]:2")),
        ("seeds", "", ()),
    ],
)
def test_each_type_can_be_given_as_text(key: str, text: str, value: object) -> None:
    assert getattr(Config.load(None, {}, {key: text}), key) == value
    assert getattr(Config.load(None, {f"COVEY_SET_{key.upper()}": text}, {}), key) == value


def test_a_seed_listed_twice_counts_once(file: Path) -> None:
    assert load(file, seeds=["a:1", "b:2", "a:1"]).seeds == ("a:1", "b:2")


def test_seeds_may_stand_in_the_older_form(file: Path) -> None:
    servers = [{"id": 1, "ip": "10.0.0.1", "port": 7001}, {"id": 2, "ip": "::1", "port": "7002"}]
    assert load(file, servers=servers).seeds == ("10.0.0.1:7001", "[::1]:7002")


def test_a_configuration_made_in_a_program_is_checked_too() -> None:
    assert Config(seeds=("a:1",), durability=Durability("periodic")).seeds == ("a:1",)
    with pytest.raises(ConfigurationError, match="heartbeat_interval = 0: must be"):
        Config(heartbeat_interval=0)
    with pytest.raises(ConfigurationError, match="write_quorum = 4, replication_factor = 3: more"):
        dataclasses.replace(Config(), write_quorum=4)


# --- refusals ---


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            '{"heartbeat_intervl": 1}',
            ": unknown setting 'heartbeat_intervl'; did you mean heartbeat_interval?",
        ),
        ('{"zzz": 1}', ": unknown setting 'zzz'; known are cluster_size, seeds,"),
        ('{"write_quorum": "2"}', ': write_quorum = "2": must be a whole number from 1 to 15'),
        ('{"write_quorum": 2.0}', ": write_quorum = 2.0: must be a whole number from 1 to 15"),
        ('{"write_quorum": true}', ": write_quorum = true: must be a whole number from 1 to 15"),
        ('{"rpc_timeout": null}', ": rpc_timeout = null: must be a number of seconds above 0 and up to 600"),
        ('{"rpc_timeout": NaN}', ": rpc_timeout = NaN: must be a number of seconds"),
        ('{"evict_after": 1e999}', ": evict_after = Infinity: must be a number of seconds, at least 1"),
        ('{"handoff_rate": -1}', ": handoff_rate = -1: must be a whole number of bytes, at least 0"),
        ('{"allow_weak_quorums": 1}', ": allow_weak_quorums = 1: must be true or false"),
        ('{"durability": "async"}', ': durability = "async": must be sync or periodic'),
        ('{"durability": ["sync"]}', ': durability = ["sync"]: must be sync or periodic'),
        ('{"seeds": "a:1"}', ': seeds = "a:1": must be a list of host:port'),
        ('{"seeds": [7001]}', ": seeds = [7001]: must be a list of host:port"),
        ('{"seeds": ["a"]}', ": seeds = [\"a\"]: 'a' is not an address: expected host:port"),
        ('{"servers": {}}', ": servers must be a list of objects with id, ip and port"),
        ('{"servers": [{"ip": "a"}]}', ': servers: {"ip": "a"}: must be an object with id, ip and port'),
        ('{"servers": [{"ip": "a", "prt": 1}]}', ": must be an object with id, ip and port"),
        ('{"servers": [], "seeds": []}', ": seeds and servers state the same thing twice; keep seeds"),
        ('{"rpc_timeout": 1, "rpc_timeout": 2}', ": rpc_timeout is there twice"),
        ('{\n"rpc_timeout": 1,\n}', ", line 3: not JSON"),
        ("[]", ": must be a JSON object of settings"),
        ("\xff", ", line 1: not JSON"),
    ],
)
def test_a_refusal_names_file_key_value_and_what_is_allowed(file: Path, content: str, words: str) -> None:
    refusal = refusal_of(file, content)
    assert words in refusal
    assert "\n" not in refusal


def test_a_file_that_is_not_utf_8_is_refused(file: Path) -> None:
    file.write_bytes(b'{"seeds": "\xff"}')
    with pytest.raises(ConfigurationError, match=r"seeds\.json: not JSON: not UTF-8"):
        Config.load(file, {}, {})


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"seeds\.json: No such file"):
        Config.load(file, {}, {})


def test_refusals_of_the_environment_and_of_flags_name_them() -> None:
    with pytest.raises(ConfigurationError, match="COVEY_SET_RPC_TIMEOUT=soon: must be a number of seconds"):
        Config.load(None, {"COVEY_SET_RPC_TIMEOUT": "soon"}, {})
    with pytest.raises(ConfigurationError, match=r"COVEY_SET_RPC_TIMOUT: .* did you mean rpc_timeout"):
        Config.load(None, {"COVEY_SET_RPC_TIMOUT": "1"}, {})
    with pytest.raises(ConfigurationError, match="--set: rpc_timeout=soon: must be a number of seconds"):
        Config.load(None, {}, {"rpc_timeout": "soon"})
    with pytest.raises(
        ConfigurationError, match="--set: unknown setting 'rpc_timout'; did you mean rpc_timeout"
    ):
        Config.load(None, {}, {"rpc_timout": "1"})


# --- what cannot be together ---


@pytest.mark.parametrize("age_s", [5.0, 5.5])
def test_tombstones_are_not_collected_while_writes_of_their_time_may_be_under_way(age_s: float) -> None:
    with pytest.raises(ConfigurationError, match="set tombstone_age to more than request_timeout") as caught:
        Config(tombstone_age=age_s)
    assert str(caught.value).startswith(
        f"tombstone_age = {age_s}, request_timeout = 5.0, max_clock_skew = 0.5:"
    )
    assert Config(tombstone_age=5.6).settled_after_s > 5.5


def test_values_that_cannot_be_together_are_named_with_where_they_came_from(file: Path) -> None:
    file.write_text('{"write_quorum": 1}')
    with pytest.raises(ConfigurationError) as caught:
        Config.load(file, {}, {"read_quorum": "2"})
    assert str(caught.value) == (
        f"read_quorum = 2 (--set), write_quorum = 1 ({file}), replication_factor = 3 (default): a read could "
        "miss an acknowledged write; choose R + W above N, or set allow_weak_quorums"
    )


@pytest.mark.parametrize("n", range(1, 6))
def test_quorums_intersect_unless_weak_ones_are_allowed(n: int) -> None:
    for w in range(1, 7):
        for r in range(1, 7):
            numbers = {"replication_factor": n, "write_quorum": w, "read_quorum": r}
            assert is_accepted(**numbers) == (w <= n and r <= n and r + w > n and w > n / 2)
            assert is_accepted(**numbers, allow_weak_quorums=True) == (w <= n and r <= n)


def is_accepted(**settings: Any) -> bool:
    try:
        Config(**settings)
    except ConfigurationError:
        return False
    return True


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"write_quorum": 3}, "write_quorum = 3 .* cannot be written, nor can it be removed"),
        ({"read_quorum": 3}, "read_quorum = 3 .* cannot be read, nor can it be removed"),
        ({"replication_factor": 1, "write_quorum": 1, "read_quorum": 1}, "each key has one copy"),
        (
            {"write_quorum": 2, "read_quorum": 1, "allow_weak_quorums": True},
            "a read may miss an acknowledged write",
        ),
        ({"cluster_size": 2}, "too few nodes for 3 copies"),
        ({"rpc_timeout": 9}, "longer than request_timeout"),
    ],
)
def test_what_will_surprise_is_warned_of(settings: dict[str, Any], words: str) -> None:
    [warning] = Config(**settings).warnings()
    assert re.search(words, warning)


# --- the files beside the code ---


def test_the_repositorys_seeds_json_is_the_default_local_cluster() -> None:
    config = Config.load(ROOT / "seeds.json", {}, {})
    assert config == Config(seeds=("127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"))
    assert len(config.seeds) == config.cluster_size
    assert config.warnings() == []


def test_the_documentation_lists_every_setting_as_the_table_has_it() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*) \|$", text, flags=re.MULTILINE)
    assert rows == [
        (row.key, f"`{json.dumps(row.default)}`", row.allowed(), row.meaning) for row in SETTINGS.values()
    ]
