"""`[signer.NAME]` and `sign` of `[apps.NAME]`: as they are written, and what they come to."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

from cloister.config import forms
from cloister.config.forms import Form, Table, one_or_more, setting, text
from cloister.config.lines import KeyPath
from cloister.config.problems import Code, refusal
from cloister.model.object_key import KeyPattern, ObjectKeyError, parse_pattern
from cloister.model.signing import LARGEST_PUT, LONGEST, Grant, Store, UserGrant
from cloister.model.snapshot import Snapshot

if TYPE_CHECKING:
    from cloister.config.surroundings import Report
    from cloister.config.validation import Checked

MOST_A_DAY = 10_000
"""As many as the signer remembers of one asker."""

_grant = Grant("")
_store = Store("", "", "", "", "")
_REGION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62})", re.ASCII)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]", re.ASCII)
_PROFILE = re.compile(r"[A-Za-z0-9_.@/ -]{1,128}", re.ASCII)


def _parse_pattern(given: str) -> KeyPattern:
    try:
        return parse_pattern(given)
    except ObjectKeyError as error:
        raise refusal(
            Code.BAD_OBJECT_KEY,
            f'"{given}" is no pattern of keys',
            why=str(error),
            hint='for example "blog/{date}/*.tar.gz"',
        ) from None


def _parse_endpoint(given: str) -> str:
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    plain = f"{parts.scheme}://{parts.netloc}"
    if (
        parts.scheme not in {"https", "http"}
        or not host
        or port == 0
        or given.rstrip("/") != plain
        or not re.fullmatch(r"[\[\]A-Za-z0-9.:-]+", parts.netloc, re.ASCII)
    ):
        raise refusal(
            Code.BAD_URL,
            f'"{given}" is no address of a store',
            why="it is https:// with a host and perhaps a port, and nothing after them",
            hint='for example "https://s3.eu-central-1.amazonaws.com"',
        )
    return plain


def _name(pattern: re.Pattern[str], what: str, example: str) -> Callable[[str], str]:
    def parse(given: str) -> str:
        if pattern.fullmatch(given) is None:
            raise refusal(Code.BAD_NAME, f'"{given}" is no {what}', hint=f'for example "{example}"')
        return given

    return parse


def _bounded(given: float) -> float:
    if not 1.0 <= given <= LONGEST:
        raise refusal(
            Code.BAD_DURATION,
            "a signature is good for a second at least, and for an hour at most",
            why="whoever has it can use it; an upload has only to begin in that time",
            hint='for example "5m"',
        )
    return given


def _uploadable(given: int) -> int:
    if given > LARGEST_PUT:
        raise refusal(
            Code.BAD_SIZE,
            "one upload has at most 5G",
            why="no store takes more in one PUT",
            hint="upload the parts as objects of their own",
        )
    return given


Pattern = Annotated[KeyPattern, Form("pattern"), text(_parse_pattern)]
Patterns = Annotated[
    list[Pattern], Form("pattern, or list of patterns"), BeforeValidator(one_or_more)
]
Endpoint = Annotated[str, Form("URL"), text(_parse_endpoint)]
Region = Annotated[str, Form("name"), text(_name(_REGION, "region", "eu-central-1"))]
Bucket = Annotated[str, Form("name"), text(_name(_BUCKET, "bucket", "example-backups"))]
Profile = Annotated[
    str, Form("name", lambda name: f'"{name}"'), text(_name(_PROFILE, "profile", "default"))
]
Validity = Annotated[forms.Duration, AfterValidator(_bounded)]
Upload = Annotated[forms.Size, AfterValidator(_uploadable)]


class GrantTable(Table):
    """`[apps.NAME.sign.STORE]`: what is signed for an application, in one store.

    In a pattern `*` stands for any characters but a slash, or for none, `?` for one, `**` between
    slashes for one part or more, and `{date}` for the day in UTC, as `2026-11-29`, or the day
    before. Everything else stands for itself.
    """

    put: Patterns = setting(
        "The keys that it may upload to, each once in all.",
        example='"blog/{date}/*.tar.gz"',
        default=[],
        default_text="none",
    )
    get: Patterns = setting(
        "The keys that it may download.",
        example='"blog/**"',
        default=[],
        default_text="none: it cannot read what it has uploaded",
    )
    valid: Validity = setting(
        "How long a signature is good; at most an hour.", example='"5m"', default=_grant.valid
    )
    largest: Upload = setting(
        "How much one upload may have.", example='"2G"', default=_grant.largest
    )
    per_day: Annotated[int, Form("number")] = setting(
        "Uploads that are signed within 24 hours.",
        example="24",
        default=_grant.per_day,
        at_least=1,
        at_most=MOST_A_DAY,
    )


class SignerTable(Table):
    """`[signer.STORE]`: a bucket of S3 of which the signer alone has the keys.

    It signs single requests for those who have a grant (docs/signer.md).
    """

    bucket: Bucket = setting("The bucket.", example='"example-backups"')
    region: Region = setting(
        "Its region; stores of one's own mostly take any.", example='"eu-central-1"'
    )
    endpoint: Endpoint | None = setting(
        "Where the store is, as those see it who upload.",
        example='"https://s3.eu-central-1.amazonaws.com"',
        default=None,
        default_text="Amazon's, of the region",
    )
    path_style: forms.Flag | None = setting(
        "Whether the bucket's name begins the path of a URL; else it begins the host's name.",
        example="true",
        default=None,
        default_text="true with an `endpoint`, and for a bucket with a dot in its name",
    )
    credentials: forms.PathText = setting(
        "The file with the keys, in the form of AWS's shared credentials. It has to be root's or "
        "the supervisor's, with mode 0600. SIGHUP has it read again.",
        example='"/etc/cloister/s3-credentials"',
    )
    profile: Profile = setting(
        "The section of that file.", example='"backups"', default=_store.profile
    )
    users: Annotated[dict[forms.User, GrantTable], Form("table of tables")] = setting(
        "What is signed for users of this machine, by `cloister sign`: a table for each, as "
        "`sign` of an application has it.",
        example='{ alice = { put = "alice/{date}/*" } }',
        default={},
        default_text="nobody",
    )


def stores(tables: dict[str, SignerTable], absolute: Callable[[str], str]) -> tuple[Store, ...]:
    """Every store."""
    found = []
    for name, table in tables.items():
        style = table.path_style
        if style is None:
            style = table.endpoint is not None or "." in table.bucket
        found.append(
            Store(
                name=name,
                endpoint=table.endpoint or f"https://s3.{table.region}.amazonaws.com",
                region=table.region,
                bucket=table.bucket,
                credentials=absolute(table.credentials),
                profile=table.profile,
                path_style=style,
                users=tuple(
                    UserGrant(user, _resolve(name, grant)) for user, grant in table.users.items()
                ),
            )
        )
    return tuple(found)


def grants(tables: dict[str, GrantTable]) -> tuple[Grant, ...]:
    """What is signed for an application."""
    return tuple(_resolve(store, table) for store, table in tables.items())


def _resolve(store: str, table: GrantTable) -> Grant:
    return Grant(
        store=store,
        put=tuple(table.put),
        get=tuple(table.get),
        valid=table.valid,
        largest=table.largest,
        per_day=table.per_day,
    )


def check(snapshot: Snapshot, checked: "Checked", report: "Report") -> None:
    """Reports grants of nothing, and those for stores that are none."""
    known = {store.name for store in snapshot.stores}
    found: list[tuple[KeyPath, Grant]] = [
        (("signer", store.name, "users", one.user), one.grant)
        for store in snapshot.stores
        for one in store.users
    ]
    found += [
        (("apps", app.name, "sign", grant.store), grant)
        for app in snapshot.apps
        for grant in app.sign
    ]
    for path, grant in found:
        if not grant.put and not grant.get and checked.complete(path):
            report.add(
                Code.MISSING_KEY,
                "neither `put` nor `get` is given",
                path,
                why="nothing would ever be signed",
                hint='for example put = "blog/{date}/*.tar.gz"',
            )
        if grant.store not in known and checked.complete(("signer",)):
            report.add(
                Code.UNKNOWN_STORE,
                f'there is no store "{grant.store}"',
                path,
                why=f"there is {', '.join(sorted(known))}"
                if known
                else "there is no [signer.NAME]",
                hint=f"name one of these, or add [signer.{grant.store}]",
            )
