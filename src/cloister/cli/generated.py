"""Where generated files go: to a folder, or to standard output for the eye."""

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import click

from cloister.generate.file import Generated, GeneratedFile
from cloister.model.errors import UsageError


def options(function: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the parameters ``output`` and ``force``, as :func:`emit` takes them."""
    for option in (
        click.option("--force", is_flag=True, help="Replace files that are there."),
        click.option(
            "--output",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="DIR",
            help="Write the files below DIR (/ installs them) instead of printing them.",
        ),
    ):
        function = option(function)
    return function


def emit(generated: Generated, output: Path | None, *, force: bool) -> None:
    """Writes below ``output``, or prints where that is ``None``; then says what to do next.

    Every line that is not part of a file is a comment. A file that is there with another
    content is an error unless ``force``; then none is written.
    """
    if output is None:
        _print(generated.files)
    else:
        _write(generated.files, output, force=force)
    if generated.next_steps:
        click.echo("# next:")
        for step in generated.next_steps:
            click.echo(f"#   {step}")


def _print(files: tuple[GeneratedFile, ...]) -> None:
    for file in files:
        mode = "" if file.mode == 0o644 else f" (mode {file.mode:04o})"
        owner = "" if file.owner == file.group == "root" else f" (owner {file.owner}:{file.group})"
        click.echo(f"# --- {file.path}{mode}{owner}")
        click.echo(file.text)


def _write(files: tuple[GeneratedFile, ...], output: Path, *, force: bool) -> None:
    places = [output / file.path.lstrip("/") for file in files]
    same = [_is_same(place, file) for place, file in zip(places, files, strict=True)]
    present = [
        place for place, kept in zip(places, same, strict=True) if os.path.lexists(place) > kept
    ]
    if present and not force:
        raise UsageError(
            f"{present[0]} is there already",
            why="nothing is overwritten without --force",
            hint="name another folder by --output, or add --force",
        )
    for place, file, kept in zip(places, files, same, strict=True):
        if not kept:
            _write_one(place, file)
        click.echo(f"# {'kept' if kept else 'wrote'} {place}")


def _is_same(place: Path, file: GeneratedFile) -> bool:
    """Whether the file is there as it would be written: templates are, with the second
    instance."""
    if place.is_symlink() or not place.is_file():
        return False
    mode = stat.S_IMODE(place.stat().st_mode)
    return mode == file.mode and place.read_bytes() == file.text.encode()


def _write_one(place: Path, file: GeneratedFile) -> None:
    """Writes a file with its mode and, as root, its owner, whatever the umask.

    It appears whole under its name; a link there is replaced, and not written through.
    """
    _make_folders(place.parent)
    written = place.with_name(f".{place.name}.{os.getpid()}")
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:  # noqa: PTH123 (a descriptor)
            stream.write(file.text)
            if os.geteuid() == 0:
                os.fchown(stream.fileno(), *_ids(file))
            os.fchmod(stream.fileno(), file.mode)
        written.rename(place)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            written.unlink()
        raise


def _make_folders(folder: Path) -> None:
    """Makes what is missing above a file, open to everybody for reading."""
    if folder.exists():
        return
    _make_folders(folder.parent)
    folder.mkdir()
    folder.chmod(0o755)


def _ids(file: GeneratedFile) -> tuple[int, int]:
    if file.owner == file.group == "root":
        return 0, 0
    import grp
    import pwd

    try:
        return pwd.getpwnam(file.owner).pw_uid, grp.getgrnam(file.group).gr_gid
    except KeyError as error:
        raise UsageError(
            f"{file.path} belongs to {file.owner}:{file.group}, which do not exist here",
            why=str(error.args[0]),
            hint="make them first, or write elsewhere as another user than root",
        ) from error
