"""Projects are remembered, kept for their names, and nobody else's."""

import json
from itertools import islice
from pathlib import Path

import pytest

from cloister.cells.quotas import projects
from cloister.cells.quotas.projects import ProjectStore, Record, listed
from cloister.model.errors import CloisterError
from cloister.model.isolation import IdRange


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(projects, "LISTED", ((str(tmp_path / "projid"), 1),))
    return tmp_path / "state" / "projects.json"


@pytest.fixture
def store(path: Path) -> ProjectStore:
    return ProjectStore(str(path), IdRange(500, 503))


def first(store: ProjectStore, name: str, count: int = 9) -> list[int]:
    return list(islice(store.candidates(name), count))


def test_the_lowest_is_given_and_the_ranges_first_to_nobody(store: ProjectStore) -> None:
    assert first(store, "blog") == [501, 502, 503]


def test_what_is_listed_is_somebody_elses(store: ProjectStore, tmp_path: Path) -> None:
    (tmp_path / "projid").write_text("# ours\nhome:501 # inline\nbroken\nword:x\n")
    assert first(store, "blog") == [502, 503]
    (tmp_path / "projects").write_text("7:/srv/a\n8:/srv/b\n")
    assert listed(((str(tmp_path / "projects"), 0),)) == {7, 8}


def test_it_is_the_same_ever_after(path: Path, store: ProjectStore) -> None:
    assert store.put("blog", Record(502, {"/srv/blog": 7}))
    again = ProjectStore(str(path), IdRange(500, 503))
    assert again.get("blog") == Record(502, {"/srv/blog": 7})
    assert first(again, "blog") == [502, 501, 503]
    assert first(again, "shop") == [501, 503]
    assert again.names() == ("blog",)


def test_nobody_gets_what_another_one_has(store: ProjectStore) -> None:
    assert store.put("blog", Record(501))
    assert not store.put("shop", Record(501))
    assert store.put("shop", Record(502))


def test_what_became_free_is_kept_for_its_name_as_long_as_there_are_others(
    store: ProjectStore,
) -> None:
    store.put("blog", Record(501, {"/srv/blog": 7}))
    store.free("blog")
    assert store.names() == ()
    # What is there by then may be somebody else's.
    assert store.get("blog") == Record(501, {"/srv/blog": 0})
    assert first(store, "blog")[0] == 501
    assert first(store, "shop") == [502, 503, 501]
    assert store.put("shop", Record(501))
    assert store.get("blog") is None


def test_a_command_is_forgotten(store: ProjectStore) -> None:
    store.put("run.1", Record(501))
    store.forget("run.1")
    store.forget("run.2")
    assert store.get("run.1") is None
    assert first(store, "shop")[0] == 501


def test_another_range_gives_other_projects(path: Path, store: ProjectStore) -> None:
    store.put("blog", Record(501))
    assert ProjectStore(str(path), IdRange(600, 700)).get("blog") is None


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"a": 5}', '{"a": {"project": 501, "places": {"/": "x"}}}']
)
def test_a_damaged_store_is_named(path: Path, store: ProjectStore, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(CloisterError, match="store of projects") as caught:
        store.get("blog")
    assert "remove it" in (caught.value.hint or "")


def test_the_file_is_people_readable(path: Path, store: ProjectStore) -> None:
    store.put("blog", Record(501, {"/srv/blog": 7}))
    assert json.loads(path.read_text()) == {"blog": {"places": {"/srv/blog": 7}, "project": 501}}
