"""What a configuration says about its sockets, as the one value that everybody reads."""

from pathlib import Path

import pytest

from cloister.config.load import load
from cloister.model.isolation import HostIdentity
from cloister.model.listener import SocketOptions
from cloister.model.snapshot import Snapshot
from cloister.sockets.plan import (
    RUNTIME_MODE,
    Client,
    DirectoryPlan,
    Passage,
    plan_app,
    plan_control,
    plan_listener,
    plan_metrics,
    plan_relay,
    plan_socket,
)

TEXT = """
[cloister]
runtime-directory = "/run/web"
state-directory = "/var/lib/web"
control = { group = "operators", mode = "0660" }
[listeners.mixed]
listen = ["127.0.0.1:0", "unix:@hidden", "unix:/run/web/mixed.sock", "unix:/srv/a/b.sock"]
socket = { owner = "alice", group = "www-data", mode = "0620", directory-mode = "0710" }
[metrics]
listen = "unix:/run/other/metrics.sock"
[apps.blog]
command = ["/bin/true"]
hosts = ["blog.example"]
metrics = { listen = "unix:/run/other/blog.sock" }
[apps.taken]
command = ["/bin/true"]
hosts = ["taken.example"]
endpoint = "handoff"
"""


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    path = tmp_path / "cloister.toml"
    path.write_text(TEXT)
    return load(str(path), check_files=False)


def test_a_listener_has_a_plan_for_each_of_its_paths(snapshot: Snapshot) -> None:
    inside, outside = plan_listener(snapshot.paths, snapshot.listeners[0])
    assert (inside.path, outside.path) == ("/run/web/mixed.sock", "/srv/a/b.sock")
    for plan in (inside, outside):
        assert plan.options.mode == 0o620
        assert plan.clients == (Client("alice", None), Client(None, "www-data"))
    # The supervisor's own directory is its own whatever a listener says; others only where
    # they are missing.
    assert inside.directories == (DirectoryPlan("/run/web", RUNTIME_MODE),)
    assert outside.directories == (DirectoryPlan("/srv/a", 0o710, "www-data", own=False),)


def test_an_application_is_the_doors_alone(snapshot: Snapshot) -> None:
    blog, taken = (plan_app(snapshot.paths, app, HostIdentity(700, 701)) for app in snapshot.apps)
    assert (blog.options.sequenced, taken.options.sequenced) == (False, True)
    plan = blog
    assert plan.path == "/run/web/apps/blog/socket"
    assert plan.folder == plan.directories[-1].path
    assert plan.directories[-1].group == plan.options.group == "701"
    assert [plan.passage(one) for one in plan.clients] == [Passage.GROUP]
    assert plan.passage(Client("700", "100")) is None


def test_metrics_and_control(snapshot: Snapshot) -> None:
    everything, blog = plan_metrics(snapshot)
    assert (everything.path, blog.path) == ("/run/other/metrics.sock", "/run/other/blog.sock")
    control = plan_control(snapshot.paths, snapshot.control)
    assert control.clients == (Client(None, "operators"),)
    assert control.joinable == "operators"


@pytest.mark.parametrize(
    ("options", "client", "passage"),
    [
        (SocketOptions("a", "g", 0o660), Client("a", "x"), Passage.OWNER),
        (SocketOptions("a", "g", 0o660), Client("b", "g"), Passage.GROUP),
        (SocketOptions("a", "g", 0o660), Client("b", "x"), None),
        (SocketOptions("a", "g", 0o662), Client("b", "x"), Passage.OTHERS),
        # The first that fits counts, although others are let in.
        (SocketOptions("a", "g", 0o062), Client("a", "g"), None),
        (SocketOptions("a", "g", 0o602), Client("b", "g"), None),
        (SocketOptions(None, None, 0o660), Client("a", "g"), None),
    ],
)
def test_as_what_somebody_is_let_in(
    options: SocketOptions, client: Client, passage: Passage | None
) -> None:
    assert plan_socket("/run/x/s", options).passage(client) is passage


def test_a_relay_is_made_where_web_servers_look_for_it() -> None:
    plan = plan_relay("php")
    assert plan.path == "/run/cloister-relay/php.sock"
    assert plan.directories == (DirectoryPlan("/run/cloister-relay", 0o711, "root", own=False),)
