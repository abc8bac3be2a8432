"""Hostnames as people write them: canonical, or refused for a reason."""

import json
import string
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.hosts.hostname import canonical_host_pattern, canonical_hostname
from cloister.model.errors import HostnameError


@dataclass(frozen=True)
class Vectors:
    """``tests/contract/hostnames.json``, which the Rust side's tests read too."""

    canonical: dict[str, str]
    written_by_people: dict[str, str]
    refused: list[str]


VECTORS = Vectors(
    **json.loads(
        (Path(__file__).parents[2] / "contract" / "hostnames.json").read_text(encoding="utf-8")
    )
)


def refusal(text: str) -> HostnameError:
    with pytest.raises(HostnameError) as caught:
        canonical_hostname(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "canonical"), [*VECTORS.canonical.items(), *VECTORS.written_by_people.items()]
)
def test_vectors_have_their_canonical_form(text: str, canonical: str) -> None:
    assert canonical_hostname(text) == canonical
    assert canonical_hostname(canonical) == canonical


@pytest.mark.parametrize("text", VECTORS.refused)
def test_vectors_are_refused_for_a_reason(text: str) -> None:
    error = refusal(text)
    assert error.what.endswith("is no hostname")
    assert error.why
    assert error.what.isprintable()
    assert len(error.what) < 100


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("🕸💍.ws", "xn--sr8hvo.ws"),
        ("I❤️NY.example", "xn--iny-4r6a.example"),
        ("❤.example", "xn--qei.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("FASS.example", "fass.example"),
        ("ﬁne.example", "fine.example"),
        ("BU\u0308CHER.example", "xn--bcher-kva.example"),
        ("bücher\u3002example\uff0e", "xn--bcher-kva.example"),
        ("\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.com", "xn--mgba3gch31f060k.com"),
        ("אב1.example", "xn--1-zhcd.example"),
        ("xn--fa-hia.example", "xn--fa-hia.example"),
        ("soft\u00adhyphen.example", "softhyphen.example"),
    ],
)
def test_other_scripts_are_read_as_browsers_read_them(text: str, canonical: str) -> None:
    assert canonical_hostname(text) == canonical
    assert canonical_hostname(canonical.upper()) == canonical


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("a..b", "empty label"),
        ("a_b", "underscores"),
        ("a b", "U+0020 (SPACE)"),
        ("a/b", "SOLIDUS"),
        ("a\0b", "U+0000"),
        ("*.example", "no wildcard"),
        ("-a.example", '"-a" begins or ends with a hyphen'),
        ("-ü.example", '"-ü" begins or ends with a hyphen'),
        ("\u0301a.example", "combining mark"),
        ("192.0.2.1", "IP address"),
        ("192.0.2.1.", "IP address"),
        ("[2001:db8::1]", "IP address"),
        ("0x7f000001", "IP address"),
        ("👨\u200d👩.example", "ZERO WIDTH JOINER"),
        ("a\u200cb.example", "ZERO WIDTH NON-JOINER"),
        ("אa.example", "one direction"),
        ("1a.אב", "one direction"),
        ("\u202ea.example", "RIGHT-TO-LEFT OVERRIDE"),
        ("\U000e0001.example", "LANGUAGE TAG"),
        ("xn--.example", "looks like an A-label"),
        ("xn--a.example", "looks like an A-label"),
        ("xn--abc-.example", "looks like an A-label"),
        ("xn--ü.example", "looks like an A-label"),
        ("xn--BCHER-KVA0.example", "looks like an A-label"),
        ("xn--99999999.example", "looks like an A-label"),
        ("a" * 64, "has 64 bytes; at most 63"),
        ("ü" * 60, "has 66 bytes; at most 63"),
        (f"{'a.' * 127}b", "has 255 bytes; at most 253"),
        ("a" * 5000, "has 5000 characters"),
    ],
)
def test_reasons_are_precise(text: str, reason: str) -> None:
    assert reason in str(refusal(text).why)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("https://example.org/", "without scheme, port and path"),
        ("example.org:443", "without scheme, port and path"),
        (" example.org", "remove the white space"),
        ("*.example.org", "in a route"),
        ("192.0.2.1", "give the service a name"),
    ],
)
def test_hints_say_what_to_do(text: str, hint: str) -> None:
    assert hint in str(refusal(text).hint)


def test_an_a_label_that_hides_another_name_is_refused() -> None:
    # "xn--Bcher" with an upper-case letter encoded, and a label that UTS 46 maps to ASCII.
    upper_case = "xn--" + "BÜCHER".lower().replace("ü", "Ü").encode("punycode").decode("ascii")
    full_width = "xn--" + "\uff45xample".encode("punycode").decode("ascii")
    for label in (upper_case, full_width):
        assert "looks like an A-label" in str(refusal(f"{label}.example").why)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("*", "*"),
        ("*.Example.ORG.", "*.example.org"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("blog.example", "blog.example"),
    ],
)
def test_patterns_have_a_canonical_form(text: str, canonical: str) -> None:
    assert canonical_host_pattern(text) == canonical


@pytest.mark.parametrize(
    "text", ["", "*.", "**", "*.*", "*.*.example", "a.*.example", "*a.example", "a*", "*..example"]
)
def test_patterns_have_one_wildcard_in_front(text: str) -> None:
    with pytest.raises(HostnameError):
        canonical_host_pattern(text)


@given(st.text(max_size=300) | st.text(alphabet=string.printable, max_size=80))
def test_any_text_is_a_safe_name_or_an_explained_refusal(text: str) -> None:
    try:
        name = canonical_hostname(text)
    except HostnameError:
        assert refusal(text).why
        return
    assert PurePosixPath(name).parts == (name,)
    assert set(name) <= set(string.ascii_lowercase + string.digits + "-.")
    assert ".." not in name
    assert not name.startswith((".", "-"))
    assert not name.endswith(".")
    assert len(name) <= 253
    assert canonical_hostname(name) == name


@given(st.from_regex(r"xn--[a-z0-9-]{1,40}", fullmatch=True))
def test_whatever_looks_like_an_a_label_is_one_or_is_refused(label: str) -> None:
    try:
        name = canonical_hostname(f"{label}.example")
    except HostnameError:
        return
    assert name == f"{label}.example"


@given(
    st.text(alphabet=st.characters(categories=["Ll", "Lo", "So", "Nd"]), min_size=1, max_size=20)
)
def test_case_and_a_trailing_dot_never_make_another_name(label: str) -> None:
    text = f"{label}.example"
    try:
        name = canonical_hostname(text)
    except HostnameError:
        return
    assert canonical_hostname(f"{text}.") == name
    assert canonical_hostname(name.upper()) == name
