"""Disks that keep bounds in a dictionary, and answer as ``cloister-cell disk`` does."""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from cloister.cells.quotas.messages import (
    Action,
    Answer,
    Bound,
    Bounded,
    DiskUse,
    Kind,
    Look,
    Mark,
    Marked,
    Seen,
    Unmark,
)
from cloister.model.errors import CloisterError

EXT4 = 0xEF53
NOTHING = DiskUse(0, 0, 0, 0)


@dataclass
class FakeDisks:
    """Every path is on the file system that it really is on, whose kind is ``file_system``."""

    enforced: bool = True
    file_system: int = EXT4
    uses: dict[int, DiskUse] = field(default_factory=dict)
    """By projects."""
    marked: dict[str, int] = field(default_factory=dict)
    """The projects of places."""
    foreign: int | None = None
    """A project that is met in a tree."""
    done: list[Action] = field(default_factory=list)
    """Everything that was not only looked at."""

    async def ask(self, actions: Sequence[Action]) -> tuple[Answer, ...]:
        return tuple(self._answer(action) for action in actions)

    def _answer(self, action: Action) -> Answer:
        found = os.stat(action.path)  # noqa: PTH116 - a text
        if not isinstance(action, Look):
            self.done.append(action)
        match action:
            case Look(path, project):
                own = self.marked.get(path, 0)
                return Seen(
                    Kind.FOLDER,
                    found.st_dev,
                    found.st_ino,
                    self.file_system,
                    own,
                    own != 0,
                    self.enforced,
                    self.enforced,
                    0 if self.enforced else errno.ENOSYS,
                    self.uses.get(project, NOTHING),
                )
            case Mark(path, project, _):
                if self.foreign is not None:
                    raise CloisterError(f"{path} belongs to project {self.foreign} already")
                self.marked[path] = project
                return Marked(5, 5)
            case Unmark(path, _):
                self.marked.pop(path, None)
                return Marked(5, 5)
            case Bound(_, project, size, files):
                use = self.uses.get(project, NOTHING)
                self.uses[project] = DiskUse(use.bytes, use.files, size, files)
                return Bounded()
