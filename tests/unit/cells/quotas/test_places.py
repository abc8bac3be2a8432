"""Where an application can write to disks."""

import os
from pathlib import Path

import pytest

from cloister.cells.quotas import places
from cloister.cells.quotas.places import Place
from cloister.model.app import App, CommandProgram
from cloister.model.errors import CloisterError
from cloister.model.isolation import Bind, Isolation, RootFilesystem
from cloister.mounts import Mount


def app(*binds: Bind, rootfs: RootFilesystem | None = None) -> App:
    return App(
        "blog", CommandProgram(("/x",)), None, binds=binds, isolation=Isolation(rootfs=rootfs)
    )


def bind(path: Path, *, writable: bool = True) -> Bind:
    return Bind(str(path), "/data", writable=writable)


def mount(path: Path, *, writable: bool = True) -> Mount:
    return Mount(str(path), "ext4", "/dev/x", writable=writable)


def test_what_is_read_only_or_missing_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    binds = (bind(tmp_path / "a", writable=False), bind(tmp_path / "b"), bind(tmp_path / "none"))
    path = str(tmp_path / "b")
    assert places.find(app(*binds), ()) == (Place(path, path),)


def test_links_are_followed_and_named_as_they_are_configured(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert places.find(app(bind(tmp_path / "link")), ()) == (
        Place(str(tmp_path / "link"), str(tmp_path / "real")),
    )


def test_links_are_resolved_as_the_system_does(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "up").symlink_to("a/b/../..")
    (tmp_path / "a" / "absolute").symlink_to(tmp_path / "up" / "a")
    for path in ("a/b", "up", "up/a/b", "a/absolute/b/.", "a/absolute/absolute/b", "none/x"):
        real = os.path.realpath(tmp_path / path)
        assert places.resolve(str(tmp_path / path)) == real
    assert places.resolve("/") == "/"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(CloisterError, match="leads to itself"):
        places.resolve(str(tmp_path / "loop"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a link to somebody else")
def test_a_link_of_somebody_else_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    os.lchown(tmp_path / "link", 12345, 12345)
    with pytest.raises(CloisterError, match="is reached by a link of user 12345"):
        places.find(app(bind(tmp_path / "link")), ())


def test_a_writable_root_is_one(tmp_path: Path) -> None:
    writable = RootFilesystem(str(tmp_path), writable=True)
    assert places.find(app(rootfs=writable), ()) == (Place(str(tmp_path), str(tmp_path)),)
    assert places.find(app(rootfs=RootFilesystem(str(tmp_path))), ()) == ()


def test_what_is_mounted_in_one_is_another_and_what_lies_in_one_is_none(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "mounted" / "inner").mkdir(parents=True)
    binds = (
        bind(tmp_path / "a"),
        bind(tmp_path / "a" / "b"),
        bind(tmp_path / "a" / "mounted" / "inner"),
    )
    mounted = (mount(Path("/")), mount(tmp_path / "a" / "mounted"))
    assert [one.real for one in places.find(app(*binds), mounted)] == [
        str(tmp_path / "a"),
        str(tmp_path / "a" / "mounted"),
    ]


def test_what_two_have_in_common() -> None:
    one, inner, other = (Place(path, path) for path in ("/srv/a", "/srv/a/b", "/srv/ab"))
    assert places.shared([one], [inner]) == "/srv/a/b"
    assert places.shared([inner], [one]) == "/srv/a/b"
    assert places.shared([one], [one]) == "/srv/a"
    assert places.shared([one], [other]) is None
