"""What leads from one snapshot to the next."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.apps.changes import (
    AddApp,
    AdjustApp,
    CloseListener,
    KeepListener,
    OpenListener,
    Place,
    RemoveApp,
    ReplaceApp,
    TellDoor,
    changes,
    places,
)
from cloister.model.app import App, CommandProgram, SelfSignedTls
from cloister.model.errors import CloisterError
from cloister.model.isolation import IdRange
from cloister.model.listener import Listener, SocketOptions, TcpAddress, UnixAddress
from cloister.model.route import SendProxy, ServerNameRoute
from cloister.model.signing import Grant, Store
from cloister.model.snapshot import DEFAULT_IDS, DoorOptions, Paths, Snapshot

BLOG = App("blog", CommandProgram(("/bin/blog",)), None, hosts=("blog.example",))
SHOP = App("shop", CommandProgram(("/bin/shop",)), None, tls=SelfSignedTls())
PORT = TcpAddress("127.0.0.1", 443)
ANY = TcpAddress("127.0.0.1", 0)
WEB = Listener("web", (PORT,), ServerNameRoute())


def snapshot(*apps: App, listeners: tuple[Listener, ...] = (WEB,)) -> Snapshot:
    return Snapshot("/c.toml", Paths("/run/c", "/s"), DEFAULT_IDS, DoorOptions(), listeners, apps)


def test_what_is_equal_is_not_touched() -> None:
    old = snapshot(BLOG, SHOP)
    assert changes(old, snapshot(BLOG, SHOP)) == ()
    assert changes(old, replace(old, source="/other.toml")) == ()


def test_sockets_first_then_the_door_then_the_ends() -> None:
    other = replace(WEB, name="other", addresses=(TcpAddress("::1", 80),))
    assert changes(snapshot(BLOG), snapshot(SHOP, listeners=(other,))) == (
        OpenListener(Place(TcpAddress("::1", 80)), other),
        AddApp(SHOP),
        TellDoor(),
        RemoveApp("blog"),
        CloseListener(Place(PORT), "web"),
    )


@pytest.mark.parametrize(
    ("old", "new", "operation"),
    [
        (BLOG, replace(BLOG, hosts=("other.example",)), AdjustApp),
        (BLOG, replace(BLOG, send_proxy=SendProxy.V2), AdjustApp),
        (SHOP, replace(SHOP, send_proxy=SendProxy.V2), AdjustApp),
        # A certificate is made for its names.
        (SHOP, replace(SHOP, hosts=("shop.example",)), ReplaceApp),
        (BLOG, replace(BLOG, environment=(("A", "b"),)), ReplaceApp),
        (BLOG, replace(BLOG, stop_timeout=1.0), ReplaceApp),
        # That it may ask the signer is in its cell; what is granted is the signer's.
        (BLOG, replace(BLOG, sign=(Grant("a"),)), ReplaceApp),
        (replace(BLOG, sign=(Grant("a"),)), BLOG, ReplaceApp),
        (replace(BLOG, sign=(Grant("a"),)), replace(BLOG, sign=(Grant("b", valid=1),)), AdjustApp),
    ],
)
def test_only_what_a_process_sees_takes_another_process(
    old: App, new: App, operation: type
) -> None:
    assert changes(snapshot(old), snapshot(new)) == (operation(new), TellDoor())


def test_stores_are_exchanged_while_everything_runs() -> None:
    store = Store("a", "https://s3.example", "eu-1", "bucket", "/keys")
    new = replace(snapshot(BLOG), stores=(store,))
    assert changes(snapshot(BLOG), new) == (TellDoor(),)


def test_a_socket_stays_whatever_its_listener_is_called() -> None:
    renamed = replace(WEB, name="front", socket=SocketOptions(backlog=7))
    assert changes(snapshot(), snapshot(listeners=(renamed,))) == (
        KeepListener(Place(PORT), renamed, WEB.socket),
        TellDoor(),
    )


def test_ports_that_the_kernel_chose_belong_to_their_listener() -> None:
    one = Listener("one", (ANY, ANY), ServerNameRoute())
    two = replace(one, name="two", addresses=(ANY,))
    assert [place for place, _ in places((one, two))] == [
        Place(ANY, "one", 1),
        Place(ANY, "one", 2),
        Place(ANY, "two", 1),
    ]
    fewer = replace(one, addresses=(ANY,))
    operations = changes(snapshot(listeners=(one, two)), snapshot(listeners=(fewer, two)))
    assert CloseListener(Place(ANY, "one", 2), "one") in operations
    assert not [one for one in operations if isinstance(one, OpenListener)]


@pytest.mark.parametrize(
    ("new", "name"),
    [
        (replace(snapshot(), paths=Paths("/run/other", "/s")), "paths"),
        (replace(snapshot(), ids=IdRange(1000, 2000)), "ids"),
        (replace(snapshot(), door=DoorOptions(user="nobody")), "door.user"),
    ],
)
def test_what_belongs_to_the_start_is_refused_by_name(new: Snapshot, name: str) -> None:
    with pytest.raises(CloisterError, match=f"^{name} cannot be changed"):
        changes(snapshot(), new)


ADDRESSES = st.sampled_from([PORT, ANY, TcpAddress("::", 443), UnixAddress("/run/a.sock")])
LISTENERS = st.lists(
    st.builds(
        Listener,
        st.sampled_from(["a", "b", "c"]),
        st.lists(ADDRESSES, min_size=1, max_size=3, unique=True).map(tuple),
        st.just(ServerNameRoute()),
        st.builds(SocketOptions, backlog=st.integers(1, 2)),
    ),
    max_size=3,
    unique_by=lambda listener: listener.name,
)
APPS = st.lists(
    st.builds(
        App,
        st.sampled_from(["x", "y", "z"]),
        st.builds(CommandProgram, st.sampled_from([("/bin/1",), ("/bin/2",)])),
        st.none(),
        st.sampled_from([(), ("h.example",)]),
    ),
    max_size=3,
    unique_by=lambda app: app.name,
)
SNAPSHOTS = st.builds(
    lambda listeners, apps: snapshot(*apps, listeners=tuple(listeners)), LISTENERS, APPS
)


@given(SNAPSHOTS, SNAPSHOTS)
def test_the_operations_lead_from_any_snapshot_to_any_other(old: Snapshot, new: Snapshot) -> None:
    apps = {app.name: app for app in old.apps}
    sockets = dict(places(old.listeners))
    seen = []
    for operation in changes(old, new):
        seen.append(type(operation))
        match operation:
            case AddApp(app):
                assert app.name not in apps
                apps[app.name] = app
            case ReplaceApp(app) | AdjustApp(app):
                assert apps[app.name] != app
                apps[app.name] = app
            case RemoveApp(name):
                del apps[name]
            case OpenListener(place, listener):
                assert place not in sockets
                sockets[place] = listener
            case KeepListener(place, listener, former):
                assert sockets[place] != listener
                assert former in (None, sockets[place].socket)
                sockets[place] = listener
            case CloseListener(place, name):
                assert sockets.pop(place).name == name
            case TellDoor():
                pass
    assert apps == {app.name: app for app in new.apps}
    assert sockets == dict(places(new.listeners))
    assert (TellDoor in seen) == ((old.apps, old.listeners) != (new.apps, new.listeners))
