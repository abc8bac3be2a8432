"""Hostnames as hashes: names of folders that say nothing and are never too long.

``crates/proto/src/hashed_name.rs`` states the same; ``tests/contract/hashed-names.json`` holds
names that both sides agree on.
"""

import base64
import hashlib

LENGTH = 43
"""Characters of every hash."""


def hashed_name(name: str) -> str:
    """Returns what stands for a canonical hostname, or for ``*.parent``, in a hosts directory
    of hashed names.

    BLAKE2s-256 (RFC 7693) in URL-safe Base64 without padding (RFC 4648 section 5): what
    ``sniproxy-hostname`` prints in sniproxy's ``hashed`` build.
    """
    digest = hashlib.blake2s(name.encode("ascii"), usedforsecurity=False).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
