"""Names that Cloister can use for what Unit lets be called anything."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

from cloister.model.listener import Address, TcpAddress, UnixAddress

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_FOREIGN = re.compile(r"[^a-z0-9]+")


def app_names(names: Iterable[str]) -> dict[str, str]:
    """A name for each application: its own where that is a host name, else the nearest one.

    An application keeps its name whatever others there are, unless two would get the same;
    then those that are no host names themselves get one with a digest of their own.
    """
    names = list(names)
    nearest = {name: name if _LABEL.fullmatch(name) else _near(name) for name in names}
    claims = Counter(nearest.values())
    return {
        name: _apart(name, label) if name != label and claims[label] > 1 else label
        for name, label in nearest.items()
    }


def _apart(name: str, label: str) -> str:
    digest = hashlib.blake2s(name.encode(), digest_size=4).hexdigest()
    return f"{label[:54].rstrip('-')}-{digest}"


def listener_name(address: Address) -> str:
    """What a listener is called in logs and statistics: as much of its address as a file name
    bears, and the service manager's names of descriptors (sd_pid_notify_with_fds(3))."""
    match address:
        case TcpAddress("0.0.0.0", port):
            return f"any-{port}"
        case TcpAddress("::", port):
            return f"any6-{port}"
        case TcpAddress(host, port):
            text = f"{host}-{port}"
        case UnixAddress(path, abstract):
            text = f"abstract-{path}" if abstract else path
        case _:
            text = str(address)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    if plain == text and len(plain) <= 63:
        return plain
    # Two addresses that look alike without their punctuation stay apart.
    digest = hashlib.blake2s(text.encode(), digest_size=3).hexdigest()
    return f"{plain[-56:].strip('-._')}-{digest}".strip("-._")


def _near(name: str) -> str:
    return _FOREIGN.sub("-", name.lower()).strip("-")[:63].strip("-") or "app"
