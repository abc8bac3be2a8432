"""What the control API takes and gives, beside :mod:`cloister.apps.status`."""

from dataclasses import dataclass

from cloister import wire


@dataclass(frozen=True, slots=True)
class ConfigurationText:
    """The running configuration."""

    version: int
    dialect: str
    """A :class:`cloister.model.configuration.Dialect` value."""
    source: str
    text: str


@dataclass(frozen=True, slots=True)
class ConfigurationChange:
    """The configuration that is wanted."""

    text: str
    dialect: str
    expected: wire.U64 | None
    """The version that it was made from, where that matters."""
