"""``cloister init``: a configuration to start from, and an application that it runs."""

import os
import shlex
from importlib.resources import files
from pathlib import Path

import click

from cloister.model.errors import UsageError

CONFIG = "cloister.toml"
STARTER = (CONFIG, "hello/hello.py")
"""Relative to ``cloister/cli/starter`` and to the folder that is written to.

The application has a folder of its own: it becomes readable in the cell as a whole, and the
folder around may well be somebody's home.
"""
URL = "https://hello.localhost:8443/"


@click.command("init")
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace files that are there.")
def command(directory: Path, force: bool) -> None:
    """Write a commented starter configuration and a small application.

    They go to DIRECTORY, by default the current one. No file that is there is touched.

    \b
    Example:
      cloister init mysite && cloister up mysite/cloister.toml
    """
    present = [name for name in STARTER if os.path.lexists(directory / name)]
    if present and not force:
        raise UsageError(
            f"{directory / present[0]} is there already",
            why="nothing is overwritten without --force",
            hint="name another folder, as in `cloister init FOLDER`, or add --force",
        )
    for name in STARTER:
        content = files("cloister.cli").joinpath("starter", name).read_bytes()
        _write(directory / name, content, replace=force)
        click.echo(f"wrote {directory / name}")
    _print_next_steps(directory)


def _write(path: Path, content: bytes, *, replace: bool) -> None:
    """Writes a file that everybody may read, whatever the umask: a cell has a user of its own.

    What is replaced stays whole until then; a link is replaced, and not written through.
    """
    if not path.parent.exists():
        path.parent.mkdir(parents=True)
        path.parent.chmod(0o755)
    written = path.with_name(f".{path.name}.{os.getpid()}") if replace else path
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123 (a descriptor, not a path)
            os.fchmod(stream.fileno(), 0o644)
            stream.write(content)
        written.rename(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise


def _print_next_steps(directory: Path) -> None:
    # Imported late: the checks load slowly, and a refusal above does not need them.
    from cloister.config.load import load

    config = directory / CONFIG
    authority = load(str(config)).paths.authority_certificate
    up = "cloister up" if directory == Path() else f"cloister up {shlex.quote(str(config))}"
    click.echo(
        f"\nnext:  {up}\n"
        "and in another terminal, once it says that hello is ready:\n"
        f"       curl --cacert {shlex.quote(authority)} {URL}"
    )
