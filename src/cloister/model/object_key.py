"""Keys of objects in a store: which texts are one, and which of them a pattern means.

A key comes from an application, which may be hostile. It is taken in one form only, so that two
texts are two objects wherever they go: a proxy, a file system and a person read the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cloister.model.errors import CloisterError

KEY_MAX = 1024
"""Bytes of a key (Amazon S3, "Naming Amazon S3 objects")."""
DATE = "{date}"
"""In a pattern: the day, as 2026-11-29, in UTC."""


class ObjectKeyError(CloisterError):
    """A text that is no key. ``str()`` says why."""


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """A key in its one form: see :func:`parse_key`."""

    text: str

    @property
    def segments(self) -> list[str]:
        """What stands between its slashes."""
        return self.text.split("/")

    def __str__(self) -> str:
        return self.text


def parse_key(text: str) -> ObjectKey:
    """The key that ``text`` is: visible characters and spaces, in Unicode's form NFC, at most
    :data:`KEY_MAX` bytes, and between slashes neither nothing nor ``.`` or ``..``.

    Raises :class:`ObjectKeyError`.
    """
    import unicodedata  # noqa: PLC0415 - a megabyte, and who holds a pattern parses no more

    why = None
    if not text:
        why = "it is empty"
    elif not text.isprintable():
        why = "it holds a character that cannot be seen, or half of one"
    elif len(text.encode()) > KEY_MAX:
        why = f"it is longer than {KEY_MAX} bytes"
    elif not unicodedata.is_normalized("NFC", text):
        why = "it is not in Unicode's form NFC"
    elif "\\" in text:
        why = "it holds a backslash, which some take for a slash"
    elif "" in text.split("/"):
        why = "it begins or ends with a slash, or has two together"
    elif {".", ".."} & set(text.split("/")):
        why = 'it has a part that is "." or ".."'
    if why is not None:
        raise ObjectKeyError(why)
    return ObjectKey(text)


@dataclass(frozen=True, slots=True)
class KeyPattern:
    """A pattern of keys: see :func:`parse_pattern`."""

    text: str

    def matches(self, key: ObjectKey, now: float) -> bool:
        """Whether it means ``key`` at ``now``, in seconds since 1970-01-01 UTC.

        A day's backup may end on the next one: ``{date}`` is the day before as well. Takes
        steps of the order of the product of both lengths, whatever the key.
        """
        today = datetime.fromtimestamp(now, UTC)
        days = [today.date().isoformat(), (today - timedelta(days=1)).date().isoformat()]
        return any(
            _wild(self.text.replace(DATE, day).split("/"), key.segments, "**", _segment)
            for day in (days if DATE in self.text else days[:1])
        )

    def __str__(self) -> str:
        return self.text


def parse_pattern(text: str) -> KeyPattern:
    """The pattern that ``text`` is: a key in which ``*`` stands for any characters but a slash,
    or for none, ``?`` for one, ``**`` between slashes for one part or more, and ``{date}`` for
    the day. Everything else stands for itself.

    Raises :class:`ObjectKeyError`.
    """
    parse_key(text)
    rest = text.replace(DATE, "")
    if "{" in rest or "}" in rest:
        raise ObjectKeyError(f"braces hold nothing but {DATE}")
    for part in text.split("/"):
        if "**" in part and part != "**":
            raise ObjectKeyError('"**" has to stand between slashes by itself')
    return KeyPattern(text)


def _segment(pattern: str, text: str) -> bool:
    # "*" may stand for nothing; the pattern has no "**" here.
    return _wild(list(pattern), text, "*", lambda one, other: one in ("?", other), least=0)


def _wild(
    pattern: Sequence[str],
    text: Sequence[str],
    star: str,
    equal: Callable[[str, str], bool],
    *,
    least: int = 1,
) -> bool:
    """Whether ``pattern`` means ``text``, where ``star`` stands for ``least`` items or more.

    Only the last star is ever tried again: what an earlier one could take, the last one can.
    """
    at, here = 0, 0
    retry: tuple[int, int] | None = None
    while here < len(text):
        if at < len(pattern) and pattern[at] == star:
            at, here = at + 1, here + least
            retry = (at, here)
        elif at < len(pattern) and equal(pattern[at], text[here]):
            at, here = at + 1, here + 1
        elif retry is not None:
            at, here = retry[0], retry[1] + 1
            retry = (at, here)
        else:
            return False
    left = pattern[at:]
    return here == len(text) and (not left or (least == 0 and set(left) == {star}))
