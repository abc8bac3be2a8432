"""Which ids of the host an application runs under."""

from cloister.model.isolation import HostIdentity, IdRange


class IdentityStore:
    """Remembers on disk which application has which host ids."""

    def __init__(self, path: str, ids: IdRange) -> None:
        self._path = path
        self._ids = ids

    def acquire(self, name: str) -> HostIdentity:
        """The ids of the application ``name``; the lowest free ones when it has none yet."""
        raise NotImplementedError

    def release(self, name: str) -> None:
        """Frees the ids of ``name``."""
        raise NotImplementedError
