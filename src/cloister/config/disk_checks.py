"""What has to hold for bounds on disks. No system calls."""

from cloister.config.problems import Code
from cloister.config.surroundings import Report
from cloister.model.app import App
from cloister.model.disk import is_bounded, overlap, way_out, writable_places
from cloister.model.snapshot import Snapshot


def check(snapshot: Snapshot, report: Report) -> None:
    """Reports bounds that an application could get around, and places of several."""
    bounded = [(app, writable_places(app)) for app in snapshot.apps if is_bounded(app)]
    for number, (app, places) in enumerate(bounded):
        where = ("apps", app.name, "limits", _key(app))
        out = way_out(app)
        if out is not None:
            report.add(
                Code.CONFLICTING_KEYS,
                f"`{_key(app)}` would not keep {app.name} from having more",
                where,
                why=out[0],
                hint=out[1],
            )
        for other, taken in bounded[:number]:
            path = overlap(places, taken)
            if path is not None:
                report.add(
                    Code.CONFLICTING_KEYS,
                    f"{app.name} and {other.name} can both write to {path}, and both have a "
                    "limit on what is there",
                    where,
                    why="a file counts for one application only",
                    hint="give each a folder of its own, or only one of them a limit",
                )


def _key(app: App) -> str:
    return "disk" if app.limits.disk is not None else "disk-files"
