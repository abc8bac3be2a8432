"""What the supervisor gives the signer: sockets, its folder, and files that it does not read."""

import asyncio
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from cloister import wire
from cloister.apps.logs import LogEvent
from cloister.config.load import load
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity
from cloister.model.signing import Store
from cloister.model.snapshot import Paths, Snapshot
from cloister.signer.program import SignerProgram, open_credentials, own_folder
from cloister.signer.spec import Answered

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
OWN = HostIdentity(os.geteuid(), os.getegid())


class Heard:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def emit(self, event: LogEvent) -> None:
        self.events.append(event)


def snapshot(folder: Path, *apps: str, users: str = "") -> Snapshot:
    path = folder / "cloister.toml"
    path.write_text(
        f'[cloister]\nruntime-directory = "{folder}/run"\nstate-directory = "{folder}/state"\n'
        f'[listeners.a]\nlisten = "unix:{folder}/a.sock"\n'
        f'[signer.backups]\nbucket = "bucket"\nregion = "any"\ncredentials = "keys"\n{users}\n'
        + "".join(
            f'[apps.{name}]\ncommand = ["/bin/true"]\nhosts = ["{name}.example"]\n'
            'sign.backups.put = "x/*"\n'
            for name in apps
        )
    )
    return load(str(path), check_files=False)


def program(found: Snapshot, sink: Heard) -> SignerProgram:
    return SignerProgram(found, lambda: None, lambda _: OWN, sink)  # type: ignore[arg-type]


@pytest.fixture
def sink() -> Heard:
    return Heard()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.touch(mode=0o600)
    return path


def store(path: Path) -> Store:
    return Store("backups", "https://s3.example", "any", "bucket", str(path))


def test_each_asker_has_a_socket_that_nobody_else_may_use(tmp_path: Path, sink: Heard) -> None:
    async def live() -> dict[str, int]:
        found = program(snapshot(tmp_path, "blog", "shop", users='users.12345.put = "y/*"'), sink)
        modes = {
            one.name: one.stat().st_mode & 0o777 for one in (tmp_path / "run/signer").iterdir()
        }
        # One is taken away, and the others go on as they are.
        inode = (tmp_path / "run/signer/app-blog.sock").stat().st_ino
        found.adopt(snapshot(tmp_path, "blog"))
        (left,) = (tmp_path / "run/signer").iterdir()
        assert (left.name, left.stat().st_ino) == ("app-blog.sock", inode)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(left))
        await found.stop()
        return modes

    group = 0o660
    assert asyncio.run(live()) == {
        "app-blog.sock": group if os.geteuid() == 0 else 0o600,
        "app-shop.sock": group if os.geteuid() == 0 else 0o600,
        "user-12345.sock": 0o600,
    }
    assert not (tmp_path / "run/signer").exists()


def test_a_user_who_is_none_is_said_and_disturbs_nobody(tmp_path: Path, sink: Heard) -> None:
    async def live() -> list[str]:
        users = 'users.no-such-user-here.put = "y/*"'
        found = program(snapshot(tmp_path, "blog", users=users), sink)
        names = [one.name for one in (tmp_path / "run/signer").iterdir()]
        await found.stop()
        return names

    assert asyncio.run(live()) == ["app-blog.sock"]
    assert "no user no-such-user-here" in sink.events[0].message


def test_what_it_answers_is_counted_from_nothing(tmp_path: Path, sink: Heard) -> None:
    answered = Answered("app", "blog", "signed", "put", "backups", "x/a", 3, 1_800_000_000, 1)
    refused = Answered("app", "blog", "rate", "", "", "", 0, 0, 7)

    async def live() -> dict[tuple[str, str, str], int]:
        found = program(snapshot(tmp_path, "blog"), sink)
        assert set(found.answered.values()) == {0}
        for one in (answered, refused):
            await found._hear(wire.encode(one))
        with pytest.raises(ValueError, match="unknown field"):
            await found._hear(b'{"whatever":1}')
        for unknown in (replace(answered, name="shop"), replace(answered, outcome="x")):
            with pytest.raises(ValueError, match="that is none"):
                await found._hear(wire.encode(unknown))
        await found.stop()
        return {key: count for key, count in found.answered.items() if count}

    assert asyncio.run(live()) == {("app", "blog", "signed"): 1, ("app", "blog", "rate"): 7}
    signed, hasty = sink.events
    assert signed.message == "app blog: signed put of x/a in backups"
    assert signed.fields["expires"] == 1_800_000_000
    assert hasty.message == "app blog: refused 7 requests (rate)"


def test_keys_are_handed_over_open(keys: Path) -> None:
    keys.write_text("content")
    descriptor = open_credentials(store(keys))
    assert not os.get_inheritable(descriptor)
    assert os.read(descriptor, 100) == b"content"
    os.close(descriptor)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_keys_that_others_have_to_do_with_are_refused(keys: Path, mode: int) -> None:
    keys.chmod(mode)
    with pytest.raises(CloisterError, match="backups cannot be used") as caught:
        open_credentials(store(keys))
    assert f"{mode:04o}" in str(caught.value.why)
    assert "chmod 0600" in str(caught.value.hint)


@needs_root
def test_keys_that_are_somebody_elses_are_refused(keys: Path) -> None:
    os.chown(keys, 12345, 12345)
    with pytest.raises(CloisterError) as caught:
        open_credentials(store(keys))
    assert "belongs to user 12345" in str(caught.value.why)


def test_what_is_no_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path, why in ((tmp_path / "pipe", "no file"), (tmp_path / "none", "No such file")):
        with pytest.raises(CloisterError) as caught:
            open_credentials(store(path))
        assert why in str(caught.value.why)


def test_the_folder_is_the_signers(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path / "run"), str(tmp_path / "state"))
    os.close(own_folder(paths, None))
    folder = Path(paths.signer)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    os.close(own_folder(paths, None))
    assert folder.stat().st_mode & 0o777 == 0o700


@needs_root
def test_a_folder_that_another_one_had_is_given_away_by_name(tmp_path: Path) -> None:
    """He may have left links there: they lead nowhere, and nothing else is given away."""
    paths = Paths(str(tmp_path / "run"), str(tmp_path / "state"))
    os.close(own_folder(paths, HostIdentity(11111, 11111)))
    folder = Path(paths.signer)
    precious = tmp_path / "precious"
    precious.touch()
    (folder / "issued").touch()
    os.chown(folder / "issued", 11111, 11111)
    (folder / "link").symlink_to(precious)
    os.link(precious, folder / "second-name")
    os.close(own_folder(paths, HostIdentity(22222, 22222)))
    assert folder.stat().st_uid == 22222
    assert (folder / "issued").stat().st_uid == 22222
    assert precious.stat().st_uid == 0


def test_a_folder_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path / "run"), str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    (tmp_path / "elsewhere").mkdir()
    Path(paths.signer).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CloisterError, match="the signer's folder"):
        own_folder(paths, None)
