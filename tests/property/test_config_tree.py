"""Changes by path against a model that changes the document in place."""

import copy
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from cloister.control.config_tree import TreeError, delete, get, post, put, split

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=15,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


def places(node: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every path of a document."""
    found = [path]
    if isinstance(node, dict):
        for name, inner in node.items():
            found += places(inner, (*path, name))
    elif isinstance(node, list):
        for index, inner in enumerate(node):
            found += places(inner, (*path, str(index)))
    return found


def node_at(document: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document


@given(st.lists(NAMES, max_size=5).map(tuple))
def test_a_quoted_path_comes_back(path: tuple[str, ...]) -> None:
    assert split("".join("/" + quote(name, safe="") for name in path)) == path


@given(st.text(max_size=20))
def test_any_text_is_a_path_or_refused(raw: str) -> None:
    try:
        parts = split(raw)
    except TreeError:
        return
    assert all(parts)


@given(OBJECTS, VALUES, st.data())
def test_every_place_can_be_read_replaced_and_removed(
    document: dict[str, Any], value: Any, data: st.DataObject
) -> None:
    before = copy.deepcopy(document)
    path = data.draw(st.sampled_from(places(document)))
    assert get(document, path) == node_at(document, path)
    replaced = put(document, path, value)
    assert get(replaced, path) == value
    if path:
        expected = copy.deepcopy(document)
        parent = node_at(expected, path[:-1])
        key = int(path[-1]) if isinstance(parent, list) else path[-1]
        parent[key] = value
        assert replaced == expected
        del parent[key]
        assert delete(document, path) == expected
    target = node_at(document, path)
    if isinstance(target, list):
        assert get(post(document, path, value), path) == [*target, value]
    assert document == before
