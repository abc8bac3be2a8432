"""Files for a listener of the configuration: what its socket really is, and whom it lets in."""

from pathlib import Path

import pytest

from cloister.cli.main import main
from cloister.generate.upstream import group_to_join
from cloister.model.errors import UsageError
from cloister.model.listener import SocketOptions
from cloister.sockets.plan import Client, plan_socket

TEXT = """
[cloister]
runtime-directory = "/run/web"
[listeners.shared]
listen = "unix:/run/shared/web.sock"
socket = { group = "4711", directory-mode = "0751" }
route = { target = "unix:/run/x.sock" }
[listeners.public]
listen = "unix:/run/web/public.sock"
socket = { mode = "0666", group = "4711" }
route = { target = "unix:/run/x.sock" }
[listeners.closed]
listen = "unix:/run/web/closed.sock"
route = { target = "unix:/run/x.sock" }
[listeners.tcp]
listen = "127.0.0.1:0"
route = { target = "unix:/run/x.sock" }
"""
SITES = {
    "nginx": (),
    "caddy": ("--site", "web.example"),
    "haproxy": (),
    "nixos": ("--site", "web.example"),
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "cloister.toml"
    path.write_text(TEXT)
    return path


def generate(config: Path, kind: str, listener: str, *more: str) -> dict[str, str]:
    """Each file's text by its path."""
    made = config.parent / "made"
    arguments = ["generate", kind, "web", "--listener", listener, "--config", str(config)]
    assert main([*arguments, *more, "--output", str(made)]) == 0
    return {
        f"/{path.relative_to(made)}": path.read_text() for path in made.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("kind", SITES)
def test_a_server_in_front_is_put_into_the_listeners_group(
    config: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    texts = "\n".join(generate(config, kind, "shared", *SITES[kind]).values())
    assert "/run/shared/web.sock" in texts
    assert "4711" in texts + capsys.readouterr().out


@pytest.mark.parametrize("kind", SITES)
def test_nobody_is_put_into_a_group_for_a_socket_that_lets_in_everybody(
    config: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    texts = "\n".join(generate(config, kind, "public", *SITES[kind]).values())
    assert "/run/web/public.sock" in texts
    assert "4711" not in texts + capsys.readouterr().out


@pytest.mark.parametrize("kind", SITES)
def test_a_socket_that_would_keep_the_server_out_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    arguments = ["generate", kind, "web", "--listener", "closed", "--config", str(config)]
    assert main([*arguments, *SITES[kind]]) != 0
    said = capsys.readouterr().err
    assert "cannot connect to /run/web/closed.sock" in said
    assert "give the listener's socket a group that may write" in said


def test_folders_are_those_that_the_supervisor_would_make(config: Path) -> None:
    made = generate(config, "tmpfiles", "shared")
    assert made == {"/etc/tmpfiles.d/web.conf": "d /run/shared 0751 root 4711 -\n"}


def test_the_supervisors_own_folder_is_not_given_away(config: Path) -> None:
    made = generate(config, "tmpfiles", "public")
    assert made == {"/etc/tmpfiles.d/web.conf": "d /run/web 0711 root root -\n"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--listener", "none"), "has no listener 'none'"),
        (("--listener", "tcp"), "has no Unix socket"),
        (("--listener", "shared", "--group", "other"), "does not have the group other"),
        (("--listener", "shared", "--socket", "/run/x"), "both say where the socket is"),
        ((), "--config alone says nothing"),
    ],
)
def test_what_does_not_go_with_the_configuration(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert main(["generate", "nginx", "web", "--config", str(config), *arguments]) != 0
    assert said in capsys.readouterr().err


def test_an_owner_who_may_not_write_is_let_in_by_no_group() -> None:
    plan = plan_socket("/run/x/s", SocketOptions("web", "web", 0o060))
    with pytest.raises(UsageError, match="user web cannot connect"):
        group_to_join(plan, Client("web", "web"))
    assert group_to_join(plan, Client("other", "other")) == "web"
