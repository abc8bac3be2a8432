"""What every generator returns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GeneratedFile:
    """One file as it is to stand on the host."""

    path: str
    """Absolute, whichever folder it is written below at first."""
    text: str
    """All of it, with the newline at its end."""
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, slots=True)
class Generated:
    """Everything that one request leads to."""

    files: tuple[GeneratedFile, ...]
    next_steps: tuple[str, ...] = ()
    """What a person does with the files, in order: commands, each on one line, or sentences."""
