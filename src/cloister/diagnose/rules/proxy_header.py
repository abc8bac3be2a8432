"""Rules ``proxy-header-missing`` and ``proxy-header-unexpected``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.model.finding import Confidence, Finding
from cloister.model.route import SendProxy

CODES = ("proxy-header-missing", "proxy-header-unexpected")


def check(case: Case) -> Iterator[Finding]:
    """One side sends a PROXY header, and the other one does not expect it; or the reverse.

    What it does: says what the asker says, and where that is not understood says it with
    and without the header.

    Why bad: a server that expects the header takes the first bytes for it and closes; one
    that does not takes the header for a broken request or a broken hello.

    Example: ``listen unix:/run/app.sock proxy_protocol;`` behind a folder of a hosts
    directory without ``send-proxy-v1``.
    """
    spoken = case.understood
    sent = case.target.proxy or SendProxy.NONE
    if spoken is None or spoken[1] is sent:
        return
    wanted = spoken[1]
    missing = sent is SendProxy.NONE
    yield Finding(
        code="proxy-header-missing" if missing else "proxy-header-unexpected",
        seen=f"{case.server or case.target.place} understands what is said "
        + (
            f"after a PROXY header ({wanted.value}), and not without one"
            if missing
            else f"with {_named(wanted)}, and not with {_named(sent)}"
        ),
        why="the header precedes everything else on a connection: both sides have to agree on it",
        cure=_cure(case, sent, wanted),
        confidence=Confidence.CERTAIN,
        lasting="the setting is `send-proxy` of an app or a route, `send-proxy-v1` or -v2 in a "
        "host's folder, `proxy_protocol` of nginx; a running supervisor has to take a change of "
        "its configuration",
    )


def _named(proxy: SendProxy) -> str:
    return "no PROXY header" if proxy is SendProxy.NONE else f"a PROXY header ({proxy.value})"


def _cure(case: Case, sent: SendProxy, wanted: SendProxy) -> str | None:
    folder = case.target.proxy_switch
    if folder is not None:
        changes = []
        if sent is not SendProxy.NONE:
            changes.append(f"rm {cures.quote(f'{folder}/send-proxy-{sent.value}')}")
        if wanted is not SendProxy.NONE:
            changes.append(f"touch {cures.quote(f'{folder}/send-proxy-{wanted.value}')}")
        return " && ".join(changes)
    app, source = case.target.app, case.target.source
    if app is None or source is None or f"[apps.{app}]" not in (case.probes.read(source) or ""):
        return None
    return cures.set_key(source, app, "send-proxy", wanted.value)
