"""``cloister hostname``: the canonical form of hostnames, or a clear reason."""

import json

import click

from cloister.model.errors import HostnameError


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--hashed",
    is_flag=True,
    help="Print what the folder is called in a hosts directory of hashed names.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Write one JSON array with an object for each name."
)
def command(names: tuple[str, ...], hashed: bool, as_json: bool) -> None:
    """Print the canonical form of each NAME, or its hash, one per line.

    It is what a folder in a hosts directory is called and what a route names: lower-case
    ASCII, without a trailing dot, other scripts as A-labels. A NAME that is no hostname is
    an error that says why; the other names are printed all the same.

    \b
    Example:
      cloister hostname Bücher.Example 🕸💍.ws
      mkdir "/srv/hosts/$(cloister hostname --hashed www.example.org)"
    """
    # Late: the Unicode tables take time that `cloister --help` does not have.
    from cloister.hosts.hashed import hashed_name
    from cloister.hosts.hostname import canonical_host_pattern, canonical_hostname

    rows: list[dict[str, str | None]] = []
    errors: list[HostnameError] = []
    for name in names:
        below = hashed and name.startswith("*.")
        try:
            canonical = canonical_host_pattern(name) if below else canonical_hostname(name)
        except HostnameError as error:
            errors.append(error)
            rows.append({"name": name, "error": error.what, "why": error.why, "hint": error.hint})
        else:
            row: dict[str, str | None] = {"name": name, "canonical": canonical}
            if hashed:
                row["hashed"] = hashed_name(canonical)
            rows.append(row)
            if not as_json:
                click.echo(row.get("hashed", canonical))
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise HostnameError(
            f"{len(errors)} of {len(names)} names are no hostnames",
            why="; ".join(f"{error.what}: {error.why}" for error in errors),
        )
