"""Comparison of this node's configuration with the settings in the epoch record, which apply to every node."""

from __future__ import annotations

from dataclasses import asdict

from ...ring.epoch import ALLOW_WEAK_QUORUMS, EpochRecord
from ..config.config import Config
from ..events import Event, EventLog


class AgreedSettings:
    """Logs each setting whose configured value differs from the agreed one, once for each agreed value."""

    def __init__(self, config: Config, log: EventLog) -> None:
        self._config = config
        self._log = log
        self._logged: dict[str, object] = {}
        """The agreed value that was logged last, by setting."""

    def compare(self, record: EpochRecord) -> None:
        for setting, agreed in _agreed(record).items():
            configured = getattr(self._config, setting)
            if configured != agreed and self._logged.get(setting) != agreed:
                self._logged[setting] = agreed
                self._log.emit(Event.CONFIG_DIFFERS, setting=setting, configured=configured, agreed=agreed)


def _agreed(record: EpochRecord) -> dict[str, object]:
    """Return the agreed values by the names of their settings in the configuration."""
    weak = bool(record.settings.get(ALLOW_WEAK_QUORUMS))
    return {**asdict(record.owners.quorums), ALLOW_WEAK_QUORUMS: weak}
