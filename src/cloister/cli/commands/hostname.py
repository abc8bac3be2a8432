"""``cloister hostname``: the canonical form of hostnames, or a clear reason."""

import json

import click

from cloister.model.errors import HostnameError


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--json", "as_json", is_flag=True, help="Write one JSON array with an object for each name."
)
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Print the canonical form of each NAME, one per line.

    It is what a folder in a hosts directory is called and what a route names: lower-case
    ASCII, without a trailing dot, other scripts as A-labels. A NAME that is no hostname is
    an error that says why; the other names are printed all the same.

    \b
    Example:
      cloister hostname Bücher.Example 🕸💍.ws
    """
    # Late: the Unicode tables take time that `cloister --help` does not have.
    from cloister.hosts.hostname import canonical_hostname

    rows: list[dict[str, str | None]] = []
    errors: list[HostnameError] = []
    for name in names:
        try:
            canonical = canonical_hostname(name)
        except HostnameError as error:
            errors.append(error)
            rows.append({"name": name, "error": error.what, "why": error.why, "hint": error.hint})
        else:
            rows.append({"name": name, "canonical": canonical})
            if not as_json:
                click.echo(canonical)
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise HostnameError(
            f"{len(errors)} of {len(names)} names are no hostnames",
            why="; ".join(f"{error.what}: {error.why}" for error in errors),
        )
