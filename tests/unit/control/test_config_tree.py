"""Unit's rules for a configuration that is changed by path."""

from typing import Any

import pytest

from cloister.control.config_tree import Refusal, TreeError, delete, get, located, post, put, split

DOCUMENT: dict[str, Any] = {
    "listeners": {"*:8080": {"pass": "applications/a"}, "unix:/run/a.sock": {}},
    "applications": {"a": {"arguments": ["x", "y"], "isolation": {"uidmap": [{"size": 1}]}}},
}
SOCKET = "/listeners/unix:%2Frun%2Fa.sock"


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        ("", ()),
        ("/", ()),
        ("/listeners", ("listeners",)),
        ("/listeners/", ("listeners",)),
        ("/listeners/*:8080/pass", ("listeners", "*:8080", "pass")),
        (SOCKET, ("listeners", "unix:/run/a.sock")),
        ("/a%2525/%C3%A9", ("a%25", "é")),
        ("/%2E%2E/..", ("..", "..")),
    ],
)
def test_paths(raw: str, parts: tuple[str, ...]) -> None:
    assert split(raw) == parts


@pytest.mark.parametrize("raw", ["//", "/a//b", "a", "/%", "/%2", "/%zz", "/%ff", "/a//"])
def test_what_is_no_path(raw: str) -> None:
    with pytest.raises(TreeError) as caught:
        split(raw)
    assert caught.value.refusal is Refusal.BAD_PATH


def refused(call: Any, *arguments: Any) -> Refusal:
    with pytest.raises(TreeError) as caught:
        call(DOCUMENT, *arguments)
    assert caught.value.detail
    return caught.value.refusal


def test_get() -> None:
    assert get(DOCUMENT, ()) is DOCUMENT
    assert get(DOCUMENT, split("/listeners/*:8080/pass")) == "applications/a"
    assert get(DOCUMENT, split(SOCKET)) == {}
    assert get(DOCUMENT, split("/applications/a/arguments/1")) == "y"
    for missing in (
        "/x",
        "/listeners/x/y",
        "/applications/a/arguments/2",
        "/applications/a/arguments/-1",
        "/applications/a/arguments/01",
        "/listeners/*:8080/pass/0",
    ):
        assert refused(get, split(missing)) is Refusal.NOT_FOUND


def test_put_replaces_and_makes() -> None:
    replaced = put(DOCUMENT, split("/listeners/*:8080/pass"), "applications/b")
    assert get(replaced, split("/listeners/*:8080")) == {"pass": "applications/b"}
    made = put(DOCUMENT, split("/applications/a/user"), "root")
    assert list(made["applications"]["a"]) == ["arguments", "isolation", "user"]
    assert put(DOCUMENT, (), {"x": 1}) == {"x": 1}
    assert put(DOCUMENT, (), "text") == "text"
    element = put(DOCUMENT, split("/applications/a/arguments/0"), "z")
    assert element["applications"]["a"]["arguments"] == ["z", "y"]
    appended = put(DOCUMENT, split("/applications/a/arguments/2"), "z")
    assert appended["applications"]["a"]["arguments"] == ["x", "y", "z"]


def test_put_makes_one_level_only() -> None:
    assert refused(put, split("/applications/b/user"), "x") is Refusal.NOT_FOUND
    assert refused(put, split("/applications/a/arguments/3"), "x") is Refusal.NOT_FOUND
    assert refused(put, split("/applications/a/arguments/first"), "x") is Refusal.NOT_FOUND
    assert refused(put, split("/listeners/*:8080/pass/x"), "x") is Refusal.NOT_FOUND


def test_post_appends_to_arrays_alone() -> None:
    appended = post(DOCUMENT, split("/applications/a/arguments"), {"any": "thing"})
    assert appended["applications"]["a"]["arguments"] == ["x", "y", {"any": "thing"}]
    assert refused(post, (), {}) is Refusal.NOT_ALLOWED
    assert refused(post, split("/applications/a"), {}) is Refusal.NOT_ALLOWED
    assert refused(post, split("/applications/a/arguments/0"), "x") is Refusal.NOT_ALLOWED
    assert refused(post, split("/applications/x"), {}) is Refusal.NOT_FOUND


def test_delete() -> None:
    assert delete(DOCUMENT, ()) == {}
    assert delete(DOCUMENT, split("/applications/a/arguments/0"))["applications"]["a"][
        "arguments"
    ] == ["y"]
    assert list(delete(DOCUMENT, split(SOCKET))["listeners"]) == ["*:8080"]
    for missing in ("/x", "/applications/a/arguments/2", "/listeners/*:8080/pass/x"):
        assert refused(delete, split(missing)) is Refusal.NOT_FOUND


def test_the_old_document_stays_as_it_is() -> None:
    before = repr(DOCUMENT)
    put(DOCUMENT, split("/listeners/*:8080/pass"), 1)
    post(DOCUMENT, split("/applications/a/arguments"), 1)
    delete(DOCUMENT, split("/applications/a/isolation/uidmap/0/size"))
    assert repr(DOCUMENT) == before


def test_where_a_path_leads() -> None:
    assert located(DOCUMENT, split("/applications/a/isolation/uidmap/0/size")) == (
        "applications",
        "a",
        "isolation",
        "uidmap",
        0,
        "size",
    )
    assert located(DOCUMENT, ("nowhere", "0", "x")) == ("nowhere", "0", "x")
