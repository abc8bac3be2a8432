"""Ways out of a cell."""

from dataclasses import dataclass

from cloister.model.route import Target


@dataclass(frozen=True, slots=True)
class Egress:
    """One destination outside that an application may dial."""

    name: str
    """What the application dials: a canonical hostname, which only its cell knows."""
    port: int
    address: str
    """What the name stands for in the cell, 127.0.1.1 to 127.0.1.254."""
    target: Target
    """Where the door connects to, from outside. A name is looked up there, again and again."""

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"
