"""Rule ``nginx-syntax``."""

from collections.abc import Iterator

from cloister.diagnose.case import Case
from cloister.diagnose.nginx import advice
from cloister.model.finding import Finding

CODES = ("nginx-syntax",)


def check(case: Case) -> Iterator[Finding]:
    """A directive of nginx names the socket in a form that it does not take.

    What it does: compares the value with what the directive takes: an address for
    ``server`` and ``fastcgi_pass``, a URL for ``proxy_pass``.

    Why bad: nginx refuses the whole configuration, and at a reload goes on with the old
    one; the change seems to have no effect.

    Example: ``proxy_pass unix:/run/app.sock;`` (invalid URL prefix), ``fastcgi_pass
    /run/php.sock;``, ``server http://unix:/run/app.sock;``.
    """
    mistake, line = case.target.mistake, case.target.line
    if mistake is None or line is None:
        return
    yield Finding(
        code="nginx-syntax",
        seen=f"{line} has {mistake.wrong!r}",
        why=mistake.why,
        cure=advice.change(case, mistake.wrong, mistake.right),
        lasting="nginx -t says so as well, before a reload",
    )
