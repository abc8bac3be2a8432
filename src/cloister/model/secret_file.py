"""Files that hold keys: whose they may be."""

import stat


def exposure(owner: int, mode: int, uid: int) -> str | None:
    """Why a file is no place for keys that are user ``uid``'s alone; ``None`` where it is one.
    ``owner`` and ``mode`` are the file's."""
    if owner not in (0, uid):
        return f"it belongs to user {owner}"
    if mode & 0o077:
        return f"its mode is {stat.S_IMODE(mode):04o}"
    return None
