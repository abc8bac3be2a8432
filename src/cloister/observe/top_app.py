"""One application in full, as `cloister top` shows it."""

from rich.text import Text

from cloister.apps.status import AppStatus, EgressStatus
from cloister.observe.columns import Columns
from cloister.observe.rates import size

HEADINGS = ("WAY OUT", "TO", "OPEN", "ALL", "FAILED", "IN", "OUT")
_COLUMNS = Columns((32, 40, 7, 10, 8, 6, 6), numbers=2)


def egress_cells(way: EgressStatus) -> tuple[str, ...]:
    """One way out under :data:`HEADINGS`; seen from the application, so what goes to the target
    goes out."""
    return (
        way.name,
        way.target,
        str(way.active),
        str(way.accepted),
        str(way.failed),
        size(way.bytes_to_client),
        size(way.bytes_to_target),
    )


def app_text(app: AppStatus) -> Text:
    """What it is, and what its ways out were used for."""
    text = Text()
    text.append(app.name, "bold").append(f"  {app.state}  {app.program}")
    text.append(f"\nhosts {', '.join(app.hosts) or 'none'}", "dim")
    if not app.egress:
        return text.append("\nno ways out", "dim")
    text.append(f"\n{_COLUMNS.line(HEADINGS)}", "bold")
    for way in app.egress:
        text.append(f"\n{_COLUMNS.line(egress_cells(way))}")
    return text
