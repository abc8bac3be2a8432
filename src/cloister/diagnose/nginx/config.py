"""Reads nginx's configuration as far as it names upstreams: directives, files and lines.

No nginx is run: ``nginx -T`` prints nothing where the configuration is wrong, which is when
it is wanted most. The grammar is that of ``ngx_conf_read_token``; variables stay unresolved,
and a directive that has one leads nowhere here.
"""

import glob
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cloister.diagnose.facts import Place, TcpPlace, UnixPlace
from cloister.diagnose.target import ConfigLine, Mistake, Speech, Target
from cloister.model.route import SendProxy

Read = Callable[[str], str | None]

_TOKEN = re.compile(
    r"""(?P<blank>\s+)|(?P<comment>\#[^\n]*)|(?P<mark>[;{}])
    |"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|(?P<word>(?:[^\s;{}"'\\]|\\.|\$\{)[^\s;{]*)""",
    re.VERBOSE | re.DOTALL,
)
_PASSES = {
    "proxy_pass": None,
    "grpc_pass": Speech.OTHER,
    "fastcgi_pass": Speech.OTHER,
    "uwsgi_pass": Speech.OTHER,
    "scgi_pass": Speech.OTHER,
    "memcached_pass": Speech.OTHER,
}
_DEPTH = 20
"""Of files that include files."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive with the blocks that it is in."""

    name: str
    values: tuple[str, ...]
    blocks: tuple[tuple[str, ...], ...]
    """Each as its words, the outermost first."""
    line: ConfigLine

    def within(self, name: str) -> tuple[str, ...] | None:
        """The words of the innermost block of this name."""
        return next((block for block in reversed(self.blocks) if block[:1] == (name,)), None)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What leads to sockets."""

    targets: tuple[Target, ...]
    error_log: str | None


def read(path: str, read_file: Read) -> Configuration:
    """The configuration that begins in ``path``. Files that cannot be read are left out."""
    directives = tuple(_directives(path, read_file, os.path.dirname(path), (), 0))  # noqa: PTH120
    speeches = _speeches(directives)
    targets: list[Target] = []
    log = None
    for directive in directives:
        if directive.name == "error_log" and directive.values and not directive.blocks:
            log = directive.values[0]
        target = _target(directive, speeches)
        if target is not None:
            targets.append(target)
    return Configuration(tuple(targets), log)


def _directives(
    path: str, read_file: Read, base: str, blocks: tuple[tuple[str, ...], ...], depth: int
) -> Iterator[Directive]:
    text = read_file(path)
    if text is None or depth > _DEPTH:
        return
    lines = text.splitlines()
    stack = list(blocks)
    words: list[str] = []
    begin = 1
    for number, word, mark in _tokens(text):
        if mark == ";" and words:
            line = ConfigLine(path, begin, lines[begin - 1].strip())
            if words[0] == "include" and len(words) == 2:
                pattern = os.path.join(base, words[1])  # noqa: PTH118
                for file in sorted(glob.glob(pattern)):  # noqa: PTH207
                    yield from _directives(file, read_file, base, tuple(stack), depth + 1)
            else:
                yield Directive(words[0], tuple(words[1:]), tuple(stack), line)
            words = []
        elif mark == "{":
            stack.append(tuple(words))
            words = []
        elif mark == "}":
            words = []
            if len(stack) > len(blocks):
                stack.pop()
        elif not mark:
            if len(words) < 2:
                begin = number  # where the value stands, or its directive's name
            words.append(word)


def _tokens(text: str) -> Iterator[tuple[int, str, str]]:
    """(line, word, mark) of each token; one of the two texts is empty."""
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            position += 1  # a stray quote: nginx itself refuses the file
            continue
        kind = match.lastgroup or ""
        if kind == "mark":
            yield line, "", match["mark"]
        elif kind in ("double", "single", "word"):
            yield line, re.sub(r"\\(.)", r"\1", match[kind]), ""
        line += match[0].count("\n")
        position = match.end()


def _speeches(directives: tuple[Directive, ...]) -> dict[str, Speech]:
    """What is said to the servers of each upstream block, by who passes to it."""
    found = {}
    for directive in directives:
        if directive.name not in _PASSES or not directive.values:
            continue
        value = directive.values[0]
        scheme, separator, rest = value.partition("://")
        name = rest.partition("/")[0] if separator else value
        found[name] = _PASSES[directive.name] or _scheme(scheme if separator else "")
    return found


def _scheme(text: str) -> Speech:
    return {"http": Speech.HTTP, "https": Speech.TLS}.get(text, Speech.OTHER)


def _target(directive: Directive, speeches: dict[str, Speech]) -> Target | None:
    if not directive.values or "$" in directive.values[0]:
        return None
    mistake = _mistake(directive)
    value = mistake.right if mistake else directive.values[0]
    upstream = directive.within("upstream")
    place: Place | None
    if directive.name == "server" and upstream is not None and len(upstream) > 1:
        speech = speeches.get(upstream[1])
        place = _place(value, default_port=80)
    elif directive.name in _PASSES:
        scheme, separator, rest = value.partition("://")
        speech = _PASSES[directive.name] or _scheme(scheme if separator else "")
        place = _passed(rest if separator else value, speech, url=bool(separator))
    else:
        return None
    if place is None:
        return None
    proxy = SendProxy.NONE if speech in (Speech.HTTP, Speech.TLS) else None
    return Target(place, speech, proxy, line=directive.line, mistake=mistake)


def _passed(address: str, speech: Speech, *, url: bool) -> Place | None:
    """``None`` for an upstream's name: its servers are targets of their own."""
    if address.startswith("unix:"):
        # proxy_pass ends the path at the first colon after it; what follows is a URI.
        path, colon, _ = address[5:].partition(":")
        return UnixPlace(path if colon and url else address[5:])
    address = address.partition("/")[0]
    if ":" not in address and "." not in address and address != "localhost":
        return None
    return _place(address, 443 if speech is Speech.TLS else 80)


def _place(text: str, default_port: int) -> Place | None:
    if text.startswith("unix:"):
        return UnixPlace(text[5:])
    host, colon, port = text.rpartition(":")
    if colon and port.isdecimal() and 0 < int(port) < 65536:
        return TcpPlace(host.strip("[]"), int(port))
    return TcpPlace(text.strip("[]"), default_port) if text else None


def _mistake(directive: Directive) -> Mistake | None:
    """What is wrong by its form alone."""
    if not directive.values or directive.within("stream") is not None:
        return None
    name, value = directive.name, directive.values[0]
    scheme, separator, rest = value.partition("://")
    in_upstream = name == "server" and directive.within("upstream") is not None
    plain = in_upstream or (name in _PASSES and name not in ("proxy_pass", "grpc_pass"))
    if plain and separator and scheme in ("http", "https"):
        return Mistake(value, rest.rstrip("/"), f"`{name}` takes an address, not a URL")
    if plain and value.startswith("/"):
        return Mistake(value, f"unix:{value}", f"`{name}` takes a path after `unix:` only")
    if name == "proxy_pass" and value.startswith("unix:"):
        return Mistake(value, f"http://{value}", "`proxy_pass` wants the protocol first")
    if name == "proxy_pass" and rest.startswith("/"):
        right = f"{scheme}://unix:{rest}"
        return Mistake(value, right, "a path needs `unix:` before it")
    return None
