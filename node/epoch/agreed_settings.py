"""Settings that belong to the epoch record hold for everyone, however a node is configured."""

from __future__ import annotations

from dataclasses import asdict

from ...ring.epoch import ALLOW_WEAK_QUORUMS, EpochRecord
from ..config.config import Config
from ..events import Event, EventLog


class AgreedSettings:
    """Says where this node's configuration differs from what was agreed, once for each value agreed on."""

    def __init__(self, config: Config, log: EventLog) -> None:
        self._config = config
        self._log = log
        self._said: dict[str, object] = {}

    def compare(self, record: EpochRecord) -> None:
        for setting, agreed in _agreed(record).items():
            configured = getattr(self._config, setting)
            if configured != agreed and self._said.get(setting) != agreed:
                self._said[setting] = agreed
                self._log.emit(Event.CONFIG_DIFFERS, setting=setting, configured=configured, agreed=agreed)


def _agreed(record: EpochRecord) -> dict[str, object]:
    """By their names in the configuration."""
    weak = bool(record.settings.get(ALLOW_WEAK_QUORUMS))
    return {**asdict(record.owners.quorums), ALLOW_WEAK_QUORUMS: weak}
