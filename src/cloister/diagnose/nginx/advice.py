"""Changes of nginx's configuration, as commands."""

from cloister.diagnose import cures
from cloister.diagnose.case import Case


def change(case: Case, old: str, new: str) -> str | None:
    """Changes ``old`` to ``new`` in the line that leads to the target, and has nginx read it;
    ``None`` where the line is not known, or does not hold ``old``."""
    line = case.target.line
    if line is None or old not in line.text:
        return None
    edit = cures.replace_in_line(line.file, line.line, old, new)
    return f"{edit} && {cures.reload_nginx(case.asker.process, case.probes)}"
