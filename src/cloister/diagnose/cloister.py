"""What Cloister itself makes, as ways to sockets: its applications and its Unix listeners."""

import pwd
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from cloister.cells.identity import IdentityStore
from cloister.diagnose.asker import Asker, of_numbers, of_process
from cloister.diagnose.facts import UnixPlace
from cloister.diagnose.probes.protocol import Probes
from cloister.diagnose.target import Speech, Target
from cloister.hosts.lookup import SOCKET
from cloister.model.app import App, Endpoint
from cloister.model.isolation import HostIdentity
from cloister.model.route import SendProxy
from cloister.model.snapshot import Snapshot
from cloister.sockets.plan import plan_app


def app_ways(snapshot: Snapshot, probes: Probes) -> Iterator[tuple[Target, Asker]]:
    """Each application's socket, and the door that is to reach it."""
    identity = _door(snapshot)
    asker = _door_process(identity, probes)
    for app in snapshot.apps:
        yield _target(snapshot, app, identity), asker


def hosts_way(target: Target, probes: Probes) -> Target:
    """The same, with what a hosts directory says where its socket lies in a host's folder
    (docs/hosts-directory.md)."""
    place = target.place
    if not isinstance(place, UnixPlace) or not place.path.endswith(f"/{SOCKET}"):
        return target
    folder = place.path.rpartition("/")[0]
    sent = [one for one in (SendProxy.V2, SendProxy.V1) if probes.walk(_switch(folder, one)).end]
    proxy = sent[0] if sent else SendProxy.NONE
    return replace(target, speech=Speech.TLS, proxy=proxy, proxy_switch=folder)


def _switch(folder: str, proxy: SendProxy) -> str:
    return f"{folder}/send-proxy-{proxy.value}"


def _target(snapshot: Snapshot, app: App, door: HostIdentity) -> Target:
    plan = plan_app(snapshot.paths, app, door)
    relayed = app.endpoint is not Endpoint.HANDOFF
    return Target(
        place=UnixPlace(plan.socket.path, plan.socket.sequenced),
        speech=Speech.TLS if app.tls is not None and relayed else None,
        proxy=app.send_proxy if relayed else None,
        plan=plan,
        app=app.name,
        source=snapshot.source,
    )


def _door(snapshot: Snapshot) -> HostIdentity:
    user = snapshot.door.user
    if user is not None:
        with suppress(KeyError):
            entry = pwd.getpwnam(user)
            return HostIdentity(entry.pw_uid, entry.pw_gid)
    return IdentityStore(snapshot.paths.identities, snapshot.ids).door


def _door_process(identity: HostIdentity, probes: Probes) -> Asker:
    for process in probes.named("cloister-door"):
        if process.credentials.uid == identity.uid:
            return of_process(process, long_path=True)
    words = f"the door, which does not run: as user {identity.uid}"
    return Asker(words, of_numbers(words, identity.uid, identity.gid).credentials, None, True)
