"""Rules ``tls-to-plain`` and ``plain-to-tls``."""

from collections.abc import Iterator

from cloister.diagnose.case import Case
from cloister.diagnose.nginx import advice
from cloister.diagnose.target import Speech
from cloister.model.finding import Finding

CODES = ("tls-to-plain", "plain-to-tls")


def check(case: Case) -> Iterator[Finding]:
    """One side speaks TLS, and the other one does not.

    What it does: says what the asker says, and where that is not understood says it in the
    other way.

    Why bad: a server of HTTP takes a hello for a broken request; a server of TLS answers a
    request with an alert. nginx says "wrong version number" or "upstream sent no valid
    HTTP/1.0 header".

    Example: ``proxy_pass https://unix:/run/app.sock;`` to an application without TLS.
    """
    spoken = case.understood
    if spoken is None or spoken[0] is case.target.speech:
        return
    tls = case.target.speech is Speech.TLS
    said, wanted = ("https://", "http://") if tls else ("http://", "https://")
    yield Finding(
        code="tls-to-plain" if tls else "plain-to-tls",
        seen=f"{case.server or case.target.place} answers "
        + ("HTTP without TLS, and not a hello" if tls else "a TLS hello, and not plain HTTP"),
        why="whoever connects speaks TLS to a server without it"
        if tls
        else "whoever connects speaks plain HTTP to a server of TLS",
        cure=advice.change(case, said, wanted),
        lasting=f"connect with {wanted}, or have the server speak the other"
        if case.target.app is None
        else "an app with `tls` terminates TLS itself: its program has to, or `hosts` must not "
        "lead to it",
    )
