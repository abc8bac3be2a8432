"""Hostnames as people write them, in the one canonical form that the door looks up.

The canonical form is lower-case ASCII: labels of letters, digits and inner hyphens, A-labels
for other scripts (RFC 5890), at most 63 bytes each and 253 together, without a trailing dot,
and never an IP address. ``crates/proto/src/hostname.rs`` states the same rules for names on
the wire; ``tests/contract/hostnames.json`` holds names that both sides agree on.

Names in other scripts are read as browsers read them: by UTS 46 with non-transitional
processing (``faß.example`` keeps its ß) and its validity criteria, hyphens in the third and
fourth place being allowed outside of A-labels. IDNA 2008 alone (RFC 5892) would refuse
symbols, and with them emoji domains such as ``🕸💍.ws`` that exist and are visited; since a
label that both accept has the same A-label under both, nothing is lost by asking UTS 46 only.
"""

import ipaddress
import re
import unicodedata
from typing import NoReturn

import idna

from cloister.model.errors import HostnameError

MAXIMUM_LENGTH = 253
"""Bytes of a whole name: RFC 1035 section 2.3.4 without the trailing dot."""

MAXIMUM_LABEL_LENGTH = 63
"""Bytes of a label (RFC 1035 section 2.3.4)."""

_MAXIMUM_INPUT = 1024
"""Characters that are looked at at all, which bounds the work on any input."""

_A_LABEL_PREFIX = "xn--"
_FOREIGN = re.compile(r"[^a-z0-9-]")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_JOINERS = "\u200c\u200d"
_RIGHT_TO_LEFT = {"R", "AL", "AN"}

_WHY_FOREIGN = {
    "_": "underscores belong to DNS names of services, not to hostnames (RFC 1123 section 2.1)",
    "*": "a hostname has no wildcard; only routes have",
}
_HINT_ALONE = "give the hostname alone, without scheme, port and path"


def canonical_hostname(text: str) -> str:
    """Returns the canonical form of a hostname.

    Upper case is lowered, one trailing dot is removed, other scripts become A-labels.

    Raises:
        HostnameError: with the reason and, where there is one, what to do.
    """
    if not text:
        _refuse(text, "it is empty")
    if len(text) > _MAXIMUM_INPUT:
        _refuse(text, f"it has {len(text)} characters; at most {MAXIMUM_LENGTH} are allowed")
    _refuse_address(text)
    labels = _map(text).split(".")
    if len(labels) > 1 and not labels[-1]:
        labels.pop()
    readable = [_readable(text, label) for label in labels]
    _check_direction(text, readable)
    canonical = [_a_label(label) for label in readable]
    for label in canonical:
        _check_label(text, label)
    name = ".".join(canonical)
    if len(name) > MAXIMUM_LENGTH:
        _refuse(text, f"it has {len(name)} bytes; at most {MAXIMUM_LENGTH} are allowed")
    # RFC 1123 section 2.1 tells addresses from names by the last label. inet_aton(3) and the
    # URL standard also take 127.1, 2130706433 and 0x7f000001 for addresses.
    if _NUMBER.fullmatch(canonical[-1]):
        _refuse_as_address(text)
    return name


def canonical_host_pattern(text: str) -> str:
    """Returns the canonical form of what a route may name.

    That is a hostname, ``*.parent`` for every name one label below ``parent``, or ``*`` for
    every other name and for clients that name none.

    Raises:
        HostnameError: as :func:`canonical_hostname`, and for a ``*`` in any other place.
    """
    if text == "*":
        return text
    parent = text.removeprefix("*.")
    if "*" in parent:
        _refuse(
            text,
            "a wildcard stands for exactly the first label",
            hint='write "*.example.org", or "*" alone for every name',
        )
    canonical = canonical_hostname(parent)
    return canonical if parent == text else f"*.{canonical}"


def _map(text: str) -> str:
    """Applies the mapping of UTS 46 section 4 and Normalization Form C."""
    try:
        return idna.uts46_remap(text, std3_rules=False)
    except idna.IDNAError as error:
        codepoint = error.codepoint
        if codepoint is None:
            _refuse(text, str(error))
        _refuse(text, f"{_character(chr(codepoint))} is allowed in no hostname")


def _readable(text: str, label: str) -> str:
    """Returns a mapped label with an A-label undone, and checks it as UTS 46 section 4.1 does."""
    if not label:
        _refuse(text, "it has an empty label", hint="dots stand between labels, one at a time")
    if label.startswith(_A_LABEL_PREFIX):
        label = _undo_a_label(text, label)
    if label.isascii():
        return label
    foreign = [char for char in label if char.isascii() and _FOREIGN.fullmatch(char)]
    if foreign:
        _refuse_foreign(text, foreign[0])
    if label.startswith("-") or label.endswith("-"):
        _refuse(text, f"the label {_quoted(label)} begins or ends with a hyphen")
    if unicodedata.category(label[0]).startswith("M"):
        _refuse(text, f"the label {_quoted(label)} begins with a combining mark")
    for position, char in enumerate(label):
        if char in _JOINERS and not _joins(label, position):
            _refuse(
                text,
                f"{_character(char)} may stand only where it changes how a script is written"
                " (RFC 5892 appendix A)",
                hint="of an emoji made of several, DNS can only carry the parts",
            )
    return label


def _undo_a_label(text: str, label: str) -> str:
    """Decodes an A-label that is the canonical one of its label."""
    try:
        decoded = label.removeprefix(_A_LABEL_PREFIX).encode("ascii").decode("punycode")
        mapped = idna.uts46_remap(decoded, std3_rules=False)
    except (ValueError, OverflowError):  # ValueError includes idna's and codecs' errors
        decoded = mapped = ""
    if decoded.isascii() or mapped != decoded or _a_label(decoded) != label:
        _refuse(text, f"{_quoted(label)} looks like an A-label but stands for no valid label")
    return decoded


def _a_label(label: str) -> str:
    if label.isascii():
        return label
    return _A_LABEL_PREFIX + label.encode("punycode").decode("ascii")


def _joins(label: str, position: int) -> bool:
    try:
        return idna.valid_contextj(label, position)
    except ValueError:  # beside a character without a name
        return False


def _check_direction(text: str, labels: list[str]) -> None:
    """Checks the Bidi Rule (RFC 5893 section 2), which binds all labels if any needs it."""
    if not any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in "".join(labels)):
        return
    for label in labels:
        try:
            idna.check_bidi(label, check_ltr=True)
        except idna.IDNAError:
            _refuse(
                text,
                f"the label {_quoted(label)} would not be read in one direction"
                " (RFC 5893 section 2)",
            )


def _check_label(text: str, label: str) -> None:
    """Checks a label of letters, digits and hyphens (RFC 5890 section 2.3.1)."""
    foreign = _FOREIGN.search(label)
    if foreign:
        _refuse_foreign(text, foreign.group())
    if len(label) > MAXIMUM_LABEL_LENGTH:
        _refuse(
            text,
            f"the label {_quoted(label)} has {len(label)} bytes;"
            f" at most {MAXIMUM_LABEL_LENGTH} are allowed",
        )
    if label.startswith("-") or label.endswith("-"):
        _refuse(text, f"the label {_quoted(label)} begins or ends with a hyphen")


def _refuse_foreign(text: str, char: str) -> NoReturn:
    default = f"{_character(char)} is no letter, digit, hyphen or dot"
    hint = None
    if char in "/:?#@":
        hint = _HINT_ALONE
    elif char == "*":
        hint = 'in a route, write "*.example.org"'
    elif char.isspace():
        hint = "remove the white space"
    _refuse(text, _WHY_FOREIGN.get(char, default), hint=hint)


def _refuse_address(text: str) -> None:
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return
    _refuse_as_address(text)


def _refuse_as_address(text: str) -> NoReturn:
    _refuse(
        text,
        "it is an IP address, which no TLS client sends as a server name (RFC 6066 section 3)",
        hint='give the service a name; "*" also serves clients that send none',
    )


def _refuse(text: str, why: str, *, hint: str | None = None) -> NoReturn:
    raise HostnameError(f"{_quoted(text)} is no hostname", why=why, hint=hint)


def _quoted(text: str) -> str:
    """Returns the text as it can be shown on any terminal, shortened in the middle."""
    if len(text) > 64:
        text = f"{text[:40]}…{text[-16:]}"
    escaped = (char if char.isprintable() else f"\\u{{{ord(char):x}}}" for char in text)
    return f'"{"".join(escaped)}"'


def _character(char: str) -> str:
    name = unicodedata.name(char, "unnamed")
    shown = f'"{char}" ' if char.isprintable() and not char.isspace() else ""
    return f"{shown}(U+{ord(char):04X} {name})" if shown else f"U+{ord(char):04X} ({name})"
