"""What a cell sees: the host's parts, in the right order, and no more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cloister.cells import view
from cloister.cells.spec import Bind, Identity, Text
from cloister.model.errors import CloisterError

APP = Identity(1000, 1000, 500_001, 500_001, (), (), False)


def bind(source: str, destination: str | None = None, *, writable: bool = False) -> Bind:
    return Bind(
        source, destination or source, writable, executable=True, optional=False, owners=None
    )


def places(binds: list[Bind]) -> list[str]:
    return [bind.destination for bind in binds]


def test_parents_come_first_and_siblings_in_order() -> None:
    binds = [
        bind("/usr/share", "/x/y/z"),
        bind("/usr/lib", "/a-b"),
        bind("/usr", "/x"),
        bind("/", "/a/b"),
    ]
    binds[0] = bind("/usr/share", "/x/share/man")
    assert places(view.arrange(binds)) == ["/a/b", "/a-b", "/x", "/x/share/man"]


def test_what_another_bind_shows_already_is_left_out() -> None:
    binds = [bind("/usr"), bind("/usr/lib"), bind("/usr/lib/../share/"), bind("/usr/bin", "/other")]
    assert places(view.arrange(binds)) == ["/other", "/usr"]


def test_a_writable_place_in_a_read_only_bind_stays() -> None:
    assert places(view.arrange([bind("/usr"), bind("/usr/lib", writable=True)])) == [
        "/usr",
        "/usr/lib",
    ]
    # And what lies in that one is compared with it, not with the outermost.
    assert places(
        view.arrange([bind("/usr"), bind("/usr/lib", writable=True), bind("/usr/lib/tmpfiles.d")])
    ) == ["/usr", "/usr/lib", "/usr/lib/tmpfiles.d"]


def test_the_later_of_two_at_one_place_counts() -> None:
    assert view.arrange([bind("/usr", "/x"), bind("/srv", "/x/")]) == [bind("/srv", "/x")]


def test_a_place_that_does_not_exist_in_the_outer_bind_is_an_error(tmp_path: Path) -> None:
    outer = bind(str(tmp_path), "/srv")
    with pytest.raises(CloisterError, match="nothing can be bound to /srv/data") as caught:
        view.arrange([outer, bind("/usr/share", "/srv/data")])
    assert f"{tmp_path}/data does not exist" in str(caught.value.why)
    (tmp_path / "data").mkdir()
    assert places(view.arrange([outer, bind("/usr/share", "/srv/data")])) == ["/srv", "/srv/data"]


@pytest.mark.parametrize("path", ["/", "/proc", "/proc/self", "/etc/", "/dev/shm", "/tmp", "/run"])
def test_folders_that_are_the_cells_own(path: str) -> None:
    with pytest.raises(CloisterError, match="cannot be the folder of blog"):
        view.application_folder("blog", path)


def test_the_system_view_is_read_only_and_makes_the_loader_reachable() -> None:
    binds, links = view.system_view()
    assert not any(bind.writable for bind in binds)
    reachable = {bind.destination for bind in binds} | {link.path for link in links}
    assert {"/usr", "/bin", "/lib"} <= reachable
    for link in links:
        assert Path(link.path).readlink() == Path(link.target)
    for made in view.made_files("blog", APP):
        assert not view.covered(made.path, binds)


def test_the_python_view_has_what_a_bare_interpreter_has() -> None:
    """The paths are enough: the same modules load with nothing but them."""
    binds = view.arrange(view.python_view())
    assert not any(bind.writable for bind in binds)
    folders = places(binds)
    assert len(folders) == len(set(folders))

    def shown(path: str | Path) -> bool:
        return view.covered(str(path), binds)

    assert shown(sys.executable)
    assert shown(Path(view.__file__).absolute())
    script = (
        "import sys, cloister, uvicorn, ssl, sqlite3\n"
        "for module in list(sys.modules.values()):\n"
        "    print(getattr(module, '__file__', None) or sys.executable)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert [path for path in done.stdout.splitlines() if not shown(path)] == []


def test_neither_the_current_folder_nor_pythonpath_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(secret), "/nowhere"]))
    monkeypatch.setattr(sys, "path", ["/", *sys.path, "", str(tmp_path), str(secret), "/nowhere"])
    shown = places(view.arrange(view.python_view()))
    assert not {"/", str(tmp_path), str(secret), "/nowhere", "."} & set(shown)


def test_every_link_to_the_interpreter_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, shim, link = tmp_path / "real", tmp_path / "shims" / "python", tmp_path / "link"
    real.write_text("")
    shim.parent.mkdir()
    shim.symlink_to("../real")
    link.symlink_to(shim)
    monkeypatch.setattr(sys, "executable", str(link))
    shown = places(view.arrange(view.python_view()))
    assert {str(real), str(shim), str(link)} <= set(shown)


def test_the_made_files_name_the_cell_and_its_user() -> None:
    texts = {
        file.path: file.content.text
        for file in view.made_files("blog", APP)
        if isinstance(file.content, Text)
    }
    assert texts["/etc/passwd"].startswith("app:x:1000:1000:")
    assert texts["/etc/hostname"] == "blog\n"
    assert "127.0.0.1 localhost blog\n" in texts["/etc/hosts"]
    assert texts["/etc/resolv.conf"] == ""
