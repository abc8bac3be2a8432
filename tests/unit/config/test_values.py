"""Durations, sizes, modes, id ranges, addresses: what is taken and what it means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from cloister.config import names, values
from cloister.model.isolation import IdRange
from cloister.model.listener import Address, TcpAddress, UnixAddress, VsockAddress


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("10s", 10), ("1.5s", 1.5), ("5m", 300), ("24h", 86400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert values.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "10", "s", "-1s", "1 s", "1S", "0ms", "25h", "1e3s", "\u0661s"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        values.parse_duration(text)


@given(st.integers(1, 24 * 3600 * 1000))
def test_a_written_duration_reads_back(milliseconds: int) -> None:
    written = values.format_duration(milliseconds / 1000).strip('"')
    assert round(values.parse_duration(written) * 1000) == milliseconds


@pytest.mark.parametrize(
    ("text", "size"), [("4K", 4096), ("64M", 64 << 20), ("1G", 1 << 30), ("2T", 2 << 40)]
)
def test_sizes(text: str, size: int) -> None:
    assert values.parse_size(text) == size
    assert values.format_size(size) == f'"{text}"'


@pytest.mark.parametrize("text", ["", "64", "M", "1K", "64MB", "64m", "-1M", "9999999999999T"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        values.parse_size(text)


def test_a_size_of_nothing() -> None:
    assert values.parse_size_or_none("0") == 0
    assert values.parse_size_or_none("4K") == 4096
    with pytest.raises(PydanticCustomError):
        values.parse_size_or_none("1")


@pytest.mark.parametrize(
    ("text", "processors"), [("0", (0,)), ("0-3,6", (0, 1, 2, 3, 6)), ("2,1-2", (1, 2))]
)
def test_processors(text: str, processors: tuple[int, ...]) -> None:
    assert values.parse_processors(text) == processors


@pytest.mark.parametrize("text", ["", "a", "1-", "3-1", "0,", "-1", "8192", "0-99999", "\u0661"])
def test_no_processors(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        values.parse_processors(text)


def test_modes() -> None:
    parse = values.mode_parser(0o777)
    assert parse("0660") == parse("660") == 0o660
    assert parse(True) is True
    assert parse(["0660"]) == ["0660"]
    for wrong in (432, 0, "rwx", "0668", "1777", "66", ""):
        with pytest.raises(PydanticCustomError):
            parse(wrong)
    assert values.mode_parser(0o7777)("2750") == 0o2750


@pytest.mark.parametrize("text", ["500000-565535", "1000-1000", "65536-4294967294"])
def test_id_ranges(text: str) -> None:
    parsed = values.parse_id_range(text)
    assert parsed == IdRange(*map(int, text.split("-")))


@pytest.mark.parametrize(
    "text", ["0-10", "999-2000", "2000-1000", "60000-70000", "70000-4294967295", "1000", "a-b", "-"]
)
def test_no_id_ranges(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        values.parse_id_range(text)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("0.0.0.0:443", [TcpAddress("0.0.0.0", 443)]),
        ("[::]:443", [TcpAddress("::", 443)]),
        ("[2001:DB8:0::1]:0", [TcpAddress("2001:db8::1", 0)]),
        ("*:443", [TcpAddress("0.0.0.0", 443), TcpAddress("::", 443)]),
        ("unix:/run/a.sock", [UnixAddress("/run/a.sock")]),
        ("unix:a.sock", [UnixAddress("a.sock")]),
        ("unix:/" + "a/" * 200 + "sock", [UnixAddress("/" + "a/" * 200 + "sock")]),
        ("unix:@a", [UnixAddress("a", abstract=True)]),
        ("vsock:any:443", [VsockAddress(None, 443)]),
        ("vsock:2:443", [VsockAddress(2, 443)]),
        ("unix:@" + "é" * 53, [UnixAddress("é" * 53, abstract=True)]),
    ],
)
def test_addresses(text: str, addresses: list[Address]) -> None:
    assert list(values.parse_address(text)) == addresses
    if len(addresses) == 1 and text.islower():
        assert str(addresses[0]) == text


@pytest.mark.parametrize(
    "text",
    ["", ":", ":443", "443", "::1", "::1:443x", "[::1]", "1.2.3:1", "0.0.0.0:-1", "0.0.0.0:\u0661",
     "010.0.0.1:1", "unix:@", "unix:/run/", "unix:a\0b", "unix:@" + "é" * 54, "unix://run/x",
     "tcp:0.0.0.0:1", "0.0.0.0:65536", "[*]:443", "[::1%lo]:1", "vsock:443",
     "vsock:any:x", "vsock:4294967295:1", "vsock::1", "vsock:any:4294967295"],
)  # fmt: skip
def test_no_addresses(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        values.parse_address(text)


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        parsed = values.parse_address(text)
    except PydanticCustomError:
        return
    assert parsed


@pytest.mark.parametrize("text", ["a", "blog", "a-b", "0", "a" * 63])
def test_app_names(text: str) -> None:
    assert names.parse_app_name(text) == text


@pytest.mark.parametrize(
    "text", ["", "-a", "a-", "A", "a_b", "a.b", "a" * 64, "..", "a/b", "é", "a\n"]
)
def test_no_app_names(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        names.parse_app_name(text)


@pytest.mark.parametrize("text", ["blog:app", "a.b:c.d", "_x:y", "b\u00fccher:app"])
def test_callables(text: str) -> None:
    assert names.parse_callable(text) == text


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("blog", "blog:app"),
        ("blog.py:app", "blog:app"),
        ("./src/blog.py:make", "src.blog:make"),
        ("blog:", "blog:app"),
        (":app", "blog:app"),
        ("", "blog:app"),
        ("blog:app()", "blog:app"),
        ("a..b:app", "blog:app"),
    ],
)
def test_no_callables(text: str, suggestion: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        names.parse_callable(text)
    assert f'"{suggestion}"' in str((caught.value.context or {})["hint"])
    assert names.parse_callable(suggestion)


@pytest.mark.parametrize("text", [".", "..", "", "a/b", "a b", "é", "a" * 256, "a\0"])
def test_no_credential_names(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        names.parse_credential_name(text)


@pytest.mark.parametrize("text", ["/", "a", "../a", "/a b/é", "a" * 255, "/" + "a/" * 3000])
def test_paths(text: str) -> None:
    assert names.parse_path(text) == text


@pytest.mark.parametrize("text", ["", "~", "~/a", "$HOME", "a\0", "a" * 256, "/é" + "é" * 127])
def test_no_paths(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        names.parse_path(text)


@pytest.mark.parametrize("text", ["a", "../a", "/a/../b", "/.."])
def test_no_paths_in_a_cell(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        names.parse_cell_path(text)


@pytest.mark.parametrize("text", ["0", "000", "root", "a b", "", "-", "4294967295", "\u0661"])
def test_no_users_for_the_door(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        names.parse_unprivileged_user(text)
