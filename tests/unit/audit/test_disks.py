"""What an audit is told of quotas, by a kernel that is played."""

import errno
from collections.abc import Sequence
from pathlib import Path

import pytest

from cloister.audit import disks
from cloister.audit.disks import Disks
from cloister.cells.quotas.messages import Action, Answer, DiskUse, Kind, Look, Seen
from cloister.model.errors import CloisterError

INHERITED = 0x200


class Kernel:
    """Of one file system: to what project folders belong, and what that may have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.attributes: tuple[int, int] | OSError = (INHERITED, 7)
        self.limit, self.enforced, self.refusal = 4096, True, 0
        self.failure: CloisterError | None = None
        self.asked: list[Look] = []
        monkeypatch.setattr(disks, "ioctl", self._ioctl)

    def _ioctl(self, descriptor: int, request: int, argument: bytes) -> bytes:
        assert (request, len(argument)) == (0x801C581F, 28)
        if isinstance(self.attributes, OSError):
            raise self.attributes
        flags, project = self.attributes
        return disks._ATTRIBUTES.pack(flags, 0, 0, project, 0)

    async def ask(self, actions: Sequence[Action]) -> tuple[Answer, ...]:
        if self.failure is not None:
            raise self.failure
        (look,) = actions
        assert isinstance(look, Look)
        self.asked.append(look)
        use = DiskUse(0, 0, self.limit, 5)
        return (Seen(Kind.FOLDER, 1, 2, 3, 0, False, True, self.enforced, self.refusal, use),)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def test_a_folder_s_project_is_asked_for_once_where_its_disk_is_mounted(
    kernel: Kernel, tmp_path: Path
) -> None:
    asked = Disks(kernel.ask)
    (tmp_path / "b").mkdir()
    assert asked.bound(str(tmp_path), "/a") == (7, 4096)
    assert asked.bound(str(tmp_path / "b"), "/a/b") == (7, 4096)
    (look,) = kernel.asked
    assert look.project == 7
    assert Path(look.path).stat().st_dev == tmp_path.stat().st_dev
    assert asked.unseen == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"attributes": (INHERITED, 0)},
        {"attributes": (0, 7)},
        {"attributes": OSError(errno.ENOTTY, "no such thing")},
        {"limit": 0},
        {"enforced": False},
        {"enforced": False, "refusal": errno.ENOSYS},
    ],
)
def test_what_is_no_bound(kernel: Kernel, tmp_path: Path, changes: dict[str, object]) -> None:
    vars(kernel).update(changes)
    asked = Disks(kernel.ask)
    assert asked.bound(str(tmp_path), "/a") is None
    assert asked.unseen == ()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"attributes": PermissionError(errno.EACCES, "")}, "/a: Permission denied; next: run it"),
        ({"enforced": False, "refusal": errno.EPERM}, "/a: Operation not permitted; next: run it"),
        ({"failure": CloisterError("no", why="it is not there")}, "/a: it is not there; next: run"),
    ],
)
def test_what_cannot_be_asked_is_said(
    kernel: Kernel, tmp_path: Path, changes: dict[str, object], why: str
) -> None:
    vars(kernel).update(changes)
    asked = Disks(kernel.ask)
    assert asked.bound(str(tmp_path), "/a") is None
    assert asked.bound(str(tmp_path), "/a") is None
    (unseen,) = asked.unseen
    assert why in unseen


def test_a_disk_that_is_mounted_elsewhere_only(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "of_process", lambda pid: ())
    asked = Disks(kernel.ask)
    assert asked.bound(str(tmp_path), "/a") is None
    assert "not mounted here" in asked.unseen[0]


def test_what_is_no_folder(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    asked = Disks(kernel.ask)
    for name in ("link", "none"):
        assert asked.bound(str(tmp_path / name), "/a") is None
    assert kernel.asked == []
