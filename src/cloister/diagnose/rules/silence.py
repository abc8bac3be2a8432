"""Rule ``no-answer``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.talk import Answer
from cloister.diagnose.target import Speech
from cloister.model.finding import Confidence, Finding

CODES = ("no-answer",)


def check(case: Case) -> Iterator[Finding]:
    """The connection stands, and nobody says anything.

    What it does: asks for the head of ``/``, or greets with a TLS hello, and waits a few
    seconds.

    Why bad: the kernel completes a connection without the server. One that hangs lets
    clients wait until they give up, which nginx calls "upstream timed out".

    Example: all workers wait for a database that is gone.
    """
    if case.target.speech not in (Speech.HTTP, Speech.TLS) or not case.connects:
        return
    if case.answer is not Answer.SILENCE or case.understood is not None:
        return
    server = case.server
    if server is not None and (limit := case.probes.open_files(server.pid)) and limit.reached():
        return  # the rule open-files
    stopped = server is not None and server.state == "T"
    yield Finding(
        code="no-answer",
        seen=f"{server or case.target.place} takes the connection and is silent"
        + (": it is stopped" if stopped else ""),
        why="the kernel completes connections on its own; the server does not serve them",
        cure=None
        if server is None
        else f"kill -CONT {server.pid}"
        if stopped
        else cures.restart(server, case.probes),
        confidence=Confidence.CERTAIN if stopped else Confidence.POSSIBLE,
        lasting="look what it waits for: its log, or `strace -f -p PID`",
    )
