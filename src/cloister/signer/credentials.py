"""Keys out of a file in the form of AWS's shared credentials (``~/.aws/credentials``)."""

import configparser

from cloister.signer.s3 import Credentials

FILE_MAX = 64 * 1024
"""Bytes of such a file."""


class CredentialsError(ValueError):
    """A file without usable keys. ``str()`` says why, and holds nothing of the file's values."""


def parse(text: str, profile: str) -> Credentials:
    """The keys of one section. Raises :class:`CredentialsError`."""
    parser = configparser.ConfigParser(interpolation=None, default_section="\0")
    try:
        parser.read_string(text)
    except configparser.Error as error:
        # Its message quotes lines: there may be keys in them.
        raise CredentialsError(f"it is no file of sections ({type(error).__name__})") from None
    if not parser.has_section(profile):
        known = ", ".join(parser.sections()) or "none"
        raise CredentialsError(f"it has no section [{profile}]; its sections: {known}")
    section = parser[profile]
    values = {
        name: section.get(name, "").strip()
        for name in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    }
    for name in ("aws_access_key_id", "aws_secret_access_key"):
        if not values[name]:
            raise CredentialsError(f"[{profile}] has no {name}")
    if not all(value.isascii() and value.isprintable() for value in values.values()):
        raise CredentialsError(f"[{profile}] holds characters that no key has")
    return Credentials(
        values["aws_access_key_id"],
        values["aws_secret_access_key"],
        values["aws_session_token"] or None,
    )
