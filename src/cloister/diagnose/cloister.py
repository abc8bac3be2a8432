"""What Cloister itself makes, as ways to sockets: its applications and its Unix listeners."""

import pwd
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from cloister.cells.identity import IdentityStore
from cloister.diagnose.asker import Asker, find, of_group, of_numbers, of_process
from cloister.diagnose.facts import AbstractPlace, Place, UnixPlace
from cloister.diagnose.nginx import running
from cloister.diagnose.probes.protocol import Probes
from cloister.diagnose.target import Speech, Target
from cloister.hosts.lookup import SOCKET
from cloister.model.app import App, Endpoint
from cloister.model.isolation import HostIdentity
from cloister.model.listener import UnixAddress
from cloister.model.route import SendProxy
from cloister.model.snapshot import Snapshot
from cloister.sockets.plan import SocketPlan, plan_app, plan_listener, plan_metrics

METRICS = "metrics"
"""How the gateway's sockets are called, beside the listeners' names."""
_NOBODY = 65534
"""An id that owns nothing and is in no group of a socket's."""


def ways(snapshot: Snapshot, who: str | None, probes: Probes) -> list[tuple[Target, Asker]]:
    """Each application and each Unix socket that it configures, and ``who``,
    or those who are to reach it.

    Raises :class:`UsageError` where there is nobody of that name.
    """
    found = [
        *app_ways(snapshot, probes),
        *listener_ways(snapshot, probes),
        *metrics_ways(snapshot, probes),
    ]
    if who is None:
        return found
    asked = find(who, probes)
    return [(target, asked) for target in dict.fromkeys(target for target, _ in found)]


def app_ways(snapshot: Snapshot, probes: Probes) -> Iterator[tuple[Target, Asker]]:
    """Each application's socket, and the door that is to reach it."""
    identity = _door(snapshot)
    asker = _door_process(identity, probes)
    maker = _maker(snapshot, probes)
    for app in snapshot.apps:
        yield replace(_target(snapshot, app, identity), maker=maker), asker


def listener_ways(snapshot: Snapshot, probes: Probes) -> Iterator[tuple[Target, Asker]]:
    """Each listener's Unix sockets, and those who are to reach them: the workers of an nginx
    whose configuration leads there, whom the socket's owner and group let in, and where it
    says nobody the supervisor's own user."""
    configuration = running.configuration(probes)
    maker = _maker(snapshot, probes)
    for listener in snapshot.listeners:
        plans = {plan.path: plan for plan in plan_listener(snapshot.paths, listener)}
        for address in listener.addresses:
            if not isinstance(address, UnixAddress):
                continue
            plan = None if address.abstract else plans[address.path]
            place: Place = AbstractPlace(address.path)
            if plan is not None:
                place = UnixPlace(plan.path, plan.options.sequenced)
            target = Target(
                place,
                plan=plan,
                maker=maker,
                listener=listener.name,
                source=snapshot.source,
            )
            line = running.leads_to(configuration, place)
            if line is not None:
                named = replace(target, speech=line.speech, line=line.line)
                yield named, find("nginx", probes)
                continue
            for asker in _clients(plan, maker, probes):
                yield target, asker


def metrics_ways(snapshot: Snapshot, probes: Probes) -> Iterator[tuple[Target, Asker]]:
    """The Unix sockets at which metrics are asked for, called :data:`METRICS`."""
    maker = _maker(snapshot, probes)
    for plan in plan_metrics(snapshot):
        target = Target(
            UnixPlace(plan.path),
            plan=plan,
            maker=maker,
            listener=METRICS,
            source=snapshot.source,
        )
        for asker in _clients(plan, maker, probes):
            yield target, asker


def _clients(plan: SocketPlan | None, maker: int, probes: Probes) -> Iterator[Asker]:
    """Who is to reach a socket; somebody for each, and at least one."""
    clients = () if plan is None else plan.clients
    if plan is None or plan.open_to_all:
        yield of_numbers("anybody", _NOBODY, _NOBODY)
        return
    for client in clients:
        if client.user is not None:
            yield find(client.user, probes)
        elif client.group is not None:
            yield of_group(client.group, probes)
    if not clients:
        own = probes.own.credentials
        same = own.uid == maker
        yield of_process(probes.own) if same else of_numbers(f"user {maker}", maker, maker)


def _maker(snapshot: Snapshot, probes: Probes) -> int:
    """The user who runs the supervisor: the runtime directory is his."""
    end = probes.walk(snapshot.paths.runtime).end
    return probes.own.credentials.uid if end is None else end.uid


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
        place=UnixPlace(plan.path, plan.options.sequenced),
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
