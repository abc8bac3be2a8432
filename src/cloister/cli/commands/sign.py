"""``cloister sign``: one upload or download, signed by the signer."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloister.cli import output

if TYPE_CHECKING:
    from cloister.signer.client import SignedRequest, SignerClient

_socket: Callable[[click.decorators.FC], click.decorators.FC] = click.option(
    "--socket",
    "path",
    metavar="PATH",
    help="Where the signer is asked. Default: $SIGNER_SOCKET, which an app's cell has; else this "
    "user's socket of the supervisor that --config names.",
)
_config: Callable[[click.decorators.FC], click.decorators.FC] = click.option(
    "--config",
    metavar="FILE",
    type=click.Path(),
    help="The configuration whose supervisor's signer is asked. Default: the supervisor of the "
    "machine, else of this user.",
)


@click.group()
def command() -> None:
    """Have single requests to an S3 store signed, without having its keys.

    What may be signed stands in the configuration: `sign` of an app, `users` of a store.
    """


@command.command()
@click.argument("store")
@click.argument("key")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--upload", "wanted", is_flag=True, help="Upload FILE at once.")
@_socket
@_config
@output.json_option
def put(
    store: str,
    key: str,
    file: Path,
    *,
    wanted: bool,
    path: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Have the upload of FILE to KEY in STORE signed, and print a command that does it.

    The signature is good for this file as it is, once, for minutes. A KEY is signed for once.

    \b
    Examples:
      cloister sign put backups blog/2026-11-29/db.tar.gz db.tar.gz --upload
      cloister sign put backups blog/2026-11-29/db.tar.gz db.tar.gz | sh
    """
    from cloister.signer.client import measure, upload

    with file.open("rb") as opened:
        signed = _client(path, config).put(store, key, measure(opened))
        if wanted:
            upload(signed, opened)
    if as_json:
        output.print_json(signed)
    elif wanted:
        click.echo(f"uploaded {key}")
    else:
        click.echo(curl(signed, file))


@command.command()
@click.argument("store")
@click.argument("key")
@_socket
@_config
@output.json_option
def get(store: str, key: str, path: str | None, config: str | None, as_json: bool) -> None:
    """Have the download of KEY in STORE signed, and print its URL.

    \b
    Example:
      curl -fO "$(cloister sign get backups blog/2026-11-29/db.tar.gz)"
    """
    signed = _client(path, config).get(store, key)
    if as_json:
        output.print_json(signed)
    else:
        click.echo(signed.url)


@command.command()
@_socket
@_config
@output.json_option
def grants(path: str | None, config: str | None, as_json: bool) -> None:
    """Show what is signed for whoever asks here.

    \b
    Example:
      cloister sign grants
    """
    found = _client(path, config).grants()
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("STORE", "PUT", "GET", "VALID", "LARGEST", "PER DAY"),
        [
            (
                one["store"],
                ", ".join(one["put"]) or None,
                ", ".join(one["get"]) or None,
                f"{one['valid_ms'] / 1000:g} s",
                one["largest"],
                one["per_day"],
            )
            for one in found["grants"]
        ],
    )


def curl(signed: "SignedRequest", file: Path) -> str:
    """The command that does what was signed. curl counts the length itself."""
    headers = [f"{name}: {value}" for name, value in signed.headers.items()]
    words = ["curl", "--fail", "--upload-file", str(file)]
    for header in headers:
        if not header.startswith("content-length:"):
            words += ["--header", header]
    return " ".join(shlex.quote(word) for word in (*words, signed.url))


def _client(path: str | None, config: str | None) -> "SignerClient":
    from cloister.signer.client import SignerClient

    return SignerClient(path or os.environ.get("SIGNER_SOCKET") or _own_socket(config))


def _own_socket(config: str | None) -> str:
    from cloister.model.snapshot import default_paths

    uid = os.geteuid()
    if config is not None:
        from cloister.config.load import load

        return load(config, check_files=False).paths.signer_user_socket(uid)
    # The machine's configuration may be closed to whoever asks; its directory is where it is.
    paths = [default_paths(uid, os.environ), default_paths(0, {})]
    sockets = [one.signer_user_socket(uid) for one in paths]
    return next((one for one in sockets if Path(one).exists()), sockets[-1])
