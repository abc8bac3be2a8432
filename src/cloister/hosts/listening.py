"""Which Unix sockets of the file system somebody listens on, asked without connecting."""

from cloister import unix_diag

FileId = tuple[int, int]
"""The lower 32 bits of a file's inode, and its device as ``st_dev``'s major and minor in the
kernel's own form."""


def file_id(inode: int, major: int, minor: int) -> FileId:
    """Names a file as the kernel names it here."""
    return inode & 0xFFFFFFFF, (major << 20 | minor) & 0xFFFFFFFF


def listening_files() -> frozenset[FileId]:
    """The files of all listening Unix sockets of this network namespace.

    Asks the kernel (unix_diag, Linux 3.3); needs no right. Raises :class:`OSError`.
    """
    answers = unix_diag.dump(1 << unix_diag.LISTEN, unix_diag.SHOW_VFS)
    places = (answer.attributes.get(unix_diag.VFS) for answer in answers)
    return frozenset(unix_diag.VFS_PLACE.unpack(place) for place in places if place is not None)
