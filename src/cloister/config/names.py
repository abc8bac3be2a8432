"""Texts that name something: paths, users, callables, environment variables, credentials.

Each parser takes the text as written and returns it, or raises what ``problems.refusal``
makes. No I/O.
"""

import re
import string

from cloister.config.problems import Code, refusal
from cloister.model.app import Readiness, Ready
from cloister.model.lifecycle import HttpProbe

NAME_MAX = 255
"""Bytes of one component of a path (limits.h)."""
RESERVED_VARIABLES = frozenset(
    {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY"}
    | {"SIGNER_SOCKET"}
)
"""Set by Cloister itself (sd_listen_fds(3), sd_notify(3), systemd.exec(5))."""

_APP = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62})", re.ASCII)
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}|[0-9]{1,10}", re.ASCII)
_HTTP_PATH = re.compile(r"/[!-~]{0,1000}", re.ASCII)
"""What stands in a request line as it is (RFC 9112, 3.2.1)."""
_CREDENTIAL = re.compile(r"[A-Za-z0-9_.-]{1,255}", re.ASCII)


def parse_app_name(text: str) -> str:
    """A DNS label (RFC 1123, 2.1) in lower case."""
    if _APP.fullmatch(text) is None:
        raise refusal(
            Code.BAD_NAME,
            f'"{text}" cannot name an application',
            why="the name is a host name inside the cell and part of the path of its socket",
            hint=f"take lower-case letters, digits and inner hyphens, at most 63{_instead(text)}",
        )
    return text


def parse_listener_name(text: str) -> str:
    """Letters, digits, dots, hyphens and underscores: it stands in logs and statistics."""
    return _plain_name(text, "a listener", "https")


def parse_store_name(text: str) -> str:
    """As a listener's: it stands in requests and in logs."""
    return _plain_name(text, "a store", "backups")


def _plain_name(text: str, what: str, example: str) -> str:
    if _PLAIN.fullmatch(text) is None:
        raise refusal(
            Code.BAD_NAME,
            f'"{text}" cannot name {what}',
            hint="take letters, digits, dots, hyphens and underscores, at most 63, "
            f'for example "{example}"',
        )
    return text


def _instead(text: str) -> str:
    """What the name may have been meant to be."""
    allowed = string.ascii_lowercase + string.digits
    label = "".join(c if c in allowed else "-" for c in text.lower()).strip("-")[:63].strip("-")
    return f', for example "{label}"' if label else ', for example "blog"'


def parse_http_path(text: str) -> str:
    """A path as an HTTP request names it (RFC 9112, 3.2.1), its query included."""
    if _HTTP_PATH.fullmatch(text) is None:
        raise refusal(
            Code.BAD_PATH,
            f'"{text}" is no path in a URL',
            why="it begins with a slash and holds visible ASCII characters, at most 1000",
            hint='for example "/metrics"',
        )
    return text


def parse_path(text: str) -> str:
    """A path, absolute or relative to the configuration file's folder."""
    if not text:
        raise refusal(
            Code.BAD_PATH, "the path is empty", hint='"." is the configuration file\'s own folder'
        )
    if "\0" in text:
        raise refusal(
            Code.BAD_PATH, f'"{text}" contains a NUL character', why="no path on Linux can hold one"
        )
    if text.startswith("~") or "$" in text:
        raise refusal(
            Code.BAD_PATH,
            f'"{text}" is taken literally',
            why='no shell reads this file: "~" and "$" stand for nothing here',
            hint="write the whole path, or one relative to the configuration file's folder",
        )
    if any(len(part.encode(errors="surrogatepass")) > NAME_MAX for part in text.split("/")):
        raise refusal(
            Code.BAD_PATH,
            f'"{text}" has a part longer than {NAME_MAX} bytes',
            why="no file system on Linux holds such a name",
        )
    return text


def parse_cell_path(text: str) -> str:
    """An absolute path inside a cell."""
    parse_path(text)
    if not text.startswith("/") or ".." in text.split("/"):
        raise refusal(
            Code.BAD_PATH,
            f'"{text}" is no absolute path',
            why='inside a cell nothing is relative to this file, and ".." has no place in a mount',
            hint='begin with "/", for example "/srv/data"',
        )
    return text


def parse_user(text: str) -> str:
    """A user's or group's name or number."""
    if _USER.fullmatch(text) is None or (text.isdigit() and int(text) > 2**32 - 2):
        raise refusal(
            Code.BAD_USER,
            f'"{text}" is no name or number of a user or group',
            hint='for example "www-data" or "33"',
        )
    return text


def parse_unprivileged_user(text: str) -> str:
    """A user other than root."""
    parse_user(text)
    if text == "root" or (text.isdigit() and int(text) == 0):
        raise refusal(
            Code.BAD_USER,
            "the door does not run as root",
            why="whoever finds a fault in it would own the machine",
            hint="leave the setting away, or name a user that owns nothing",
        )
    return text


def parse_app_user(text: str) -> str:
    """A user or group other than root."""
    parse_user(text)
    if text == "root" or (text.isdigit() and int(text) == 0):
        raise refusal(
            Code.BAD_USER,
            "no application runs as root",
            why="a fault in it would open the machine, and not only its cell",
            hint="leave the setting away for ids of its own, or name another one",
        )
    return text


def parse_callable(text: str) -> str:
    """``module:attribute``, both dotted identifiers."""
    module, _, attribute = text.partition(":")
    # A package may hold a module "py", but whoever writes blog.py means the file.
    if _is_dotted(module) and _is_dotted(attribute) and not module.endswith(".py"):
        return text
    meant = module.removesuffix(".py").strip("./").replace("/", ".")
    meant = meant if _is_dotted(meant) else "blog"
    attribute = attribute if _is_dotted(attribute) else "app"
    raise refusal(
        Code.BAD_CALLABLE,
        f'"{text}" names no callable of a module',
        hint="write the module's import name, a colon and the callable, for example "
        f'"{meant}:{attribute}"',
    )


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def parse_ready(text: str) -> Ready:
    """``notify``, ``accept`` or ``http:/PATH``."""
    scheme, _, path = text.partition(":")
    if scheme == "http" and _HTTP_PATH.fullmatch(path):
        return HttpProbe(path)
    for readiness in Readiness:
        if text == readiness.value:
            return readiness
    raise refusal(
        Code.UNKNOWN_VALUE,
        f'`ready` cannot be "{text}"',
        why='it takes "notify", "accept" or "http:/PATH", with a path as in a request',
        hint='for example "http:/health"',
    )


def parse_variable_name(text: str) -> str:
    """A name for an environment variable that Cloister does not set itself."""
    if not text or "=" in text or "\0" in text:
        raise refusal(
            Code.BAD_ENVIRONMENT,
            f'"{text}" cannot name an environment variable',
            why='a name is not empty and holds neither "=" nor NUL (environ(7))',
            hint='for example "DATABASE_URL"',
        )
    if text in RESERVED_VARIABLES:
        raise refusal(
            Code.BAD_ENVIRONMENT,
            f'"{text}" is set by Cloister itself',
            why="the application finds its socket, its credentials or its supervisor by it",
            hint="remove the line, or take another name",
        )
    return text


def parse_variable_value(text: str) -> str:
    """A value for an environment variable."""
    if "\0" in text:
        raise refusal(
            Code.BAD_ENVIRONMENT,
            "the value contains a NUL character",
            why="an environment variable ends at its first NUL (environ(7))",
        )
    return text


def parse_credential_name(text: str) -> str:
    """A file name that needs no quoting."""
    if _CREDENTIAL.fullmatch(text) is None or text in {".", ".."}:
        raise refusal(
            Code.BAD_NAME,
            f'"{text}" cannot name a credential',
            why="the name becomes a file in $CREDENTIALS_DIRECTORY",
            hint="take letters, digits, dots, hyphens and underscores, "
            'for example "database-password"',
        )
    return text


def parse_argument(text: str) -> str:
    """One word of a command line."""
    if "\0" in text:
        raise refusal(
            Code.BAD_COMMAND,
            "an argument contains a NUL character",
            why="an argument ends at its first NUL (execve(2))",
        )
    return text
