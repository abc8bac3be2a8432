"""The types of settings: how a value is written, how it is read, what it is called in help."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticKnownError

from cloister.config import fence_names, names, targets, values
from cloister.config.problems import Code, refusal
from cloister.hosts.hostname import canonical_host_pattern
from cloister.model.app import Ready
from cloister.model.errors import HostnameError
from cloister.model.isolation import IdRange
from cloister.model.listener import Address
from cloister.model.route import Target

WORD_FORM = "<word>"
TABLE_FORM = "<table>"
"""Names in pydantic's error places for the forms of a setting that takes a single value or a
table."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a setting's type is called in help, and how a default of it is written."""

    name: str
    write: Callable[[Any], str] = repr


WORD = Form("word", lambda word: f'"{word}"')
"""One of a few words."""


@dataclass(frozen=True, slots=True)
class Help:
    """What help says of a setting beside its description."""

    example: str
    """The value in TOML, as after the ``=``."""
    default: str | None
    """Prose for a default that depends on other things."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A key that other programs know by this name: what it is there, why it is not here, and
    what to use instead."""

    what: str
    why: str
    hint: str


def setting(
    description: str,
    *,
    example: str,
    default: Any = ...,
    default_text: str | None = None,
    at_least: int | None = None,
    at_most: int | None = None,
) -> Any:
    """Declares a setting. Without ``default`` it has to be given."""
    return Field(
        default,
        description=description,
        examples=[Help(example, default_text)],
        ge=at_least,
        le=at_most,
    )


class Table(BaseModel):
    """A table whose keys are all known and written in kebab case; no value is converted."""

    refused: ClassVar[Mapping[str, Refused]] = MappingProxyType({})
    """Keys that are unknown for a reason."""

    model_config = ConfigDict(
        alias_generator=lambda name: name.replace("_", "-"),
        extra="forbid",
        frozen=True,
        strict=True,
    )


def text(parse: Callable[[str], object]) -> PlainValidator:
    """Reads a text by ``parse`` and refuses whatever else."""

    def validate(value: object) -> object:
        if not isinstance(value, str):
            raise PydanticKnownError("string_type")
        return parse(value)

    return PlainValidator(validate, json_schema_input_type=str)


def _mode(largest: int) -> PlainValidator:
    parse = values.mode_parser(largest)

    def validate(value: object) -> object:
        mode = parse(value)
        if not isinstance(mode, int) or isinstance(mode, bool):
            raise PydanticKnownError("string_type")
        return mode

    return PlainValidator(validate, json_schema_input_type=str)


def _canonical_pattern(text: str) -> str:
    try:
        return canonical_host_pattern(text)
    except HostnameError as error:
        raise refusal(
            Code.BAD_HOST,
            error.what,
            why=error.why,
            hint=error.hint or 'for example "blog.example.org", "*.example.org" or "*"',
        ) from None


def one_or_more(value: object) -> object:
    """A text stands for the list of it alone."""
    return [value] if isinstance(value, str) else value


def _not_empty(value: list[Any]) -> list[Any]:
    if not value:
        raise refusal(
            Code.EMPTY_VALUE, "the list is empty", hint="name at least one, or remove the line"
        )
    return value


def _write_mode(mode: int) -> str:
    return f'"{mode:04o}"'


Flag = Annotated[bool, Form("true or false", lambda value: "true" if value else "false")]
Duration = Annotated[float, Form("duration", values.format_duration), text(values.parse_duration)]
DurationOrNone = Annotated[
    float, Form("duration", values.format_duration), text(values.parse_duration_or_none)
]
Size = Annotated[int, Form("size", values.format_size), text(values.parse_size)]
SizeOrNone = Annotated[int, Form("size", values.format_size), text(values.parse_size_or_none)]
Processors = Annotated[tuple[int, ...], Form("list of processors"), text(values.parse_processors)]
SocketMode = Annotated[int, Form("mode", _write_mode), _mode(0o777)]
ControlMode = Annotated[int, Form("mode", _write_mode), _mode(0o660)]
DirectoryMode = Annotated[int, Form("mode", _write_mode), _mode(0o7777)]
IdRangeText = Annotated[IdRange, Form("range of ids"), text(values.parse_id_range)]
AddressText = Annotated[tuple[Address, ...], Form("address"), text(values.parse_address)]
Addresses = Annotated[
    list[AddressText],
    Form("address, or list of addresses"),
    BeforeValidator(one_or_more),
    AfterValidator(_not_empty),
]
ProxyPeer = Annotated[str, Form("network or user"), text(values.parse_proxy_peer)]
ProxyPeers = Annotated[list[ProxyPeer], Form("list of networks and users")]
TargetText = Annotated[Target, Form("target"), text(targets.parse_target)]
HttpPath = Annotated[
    str, Form("path in a URL", lambda path: f'"{path}"'), text(names.parse_http_path)
]
PathText = Annotated[str, Form("path"), text(names.parse_path)]
CellPath = Annotated[str, Form("absolute path in the cell"), text(names.parse_cell_path)]
User = Annotated[str, Form("user's name or number"), text(names.parse_user)]
Group = Annotated[str, Form("group's name or number"), text(names.parse_user)]
UnprivilegedUser = Annotated[
    str, Form("user's name or number"), text(names.parse_unprivileged_user)
]
AppUser = Annotated[str, Form("user's name or number"), text(names.parse_app_user)]
AppGroup = Annotated[str, Form("group's name or number"), text(names.parse_app_user)]
AppName = Annotated[str, Form("name"), text(names.parse_app_name)]
StoreName = Annotated[str, Form("name"), text(names.parse_store_name)]
ListenerName = Annotated[str, Form("name"), text(names.parse_listener_name)]
HostPattern = Annotated[str, Form("hostname or pattern"), text(_canonical_pattern)]
Hosts = Annotated[
    list[HostPattern], Form("list of hostnames or patterns"), AfterValidator(_not_empty)
]
ReadyText = Annotated[Ready, Form("word"), text(names.parse_ready)]
CallableText = Annotated[str, Form("module:callable"), text(names.parse_callable)]
Argument = Annotated[str, Form("text"), text(names.parse_argument)]
Sentence = Annotated[str, Form("text"), text(names.parse_argument)]
Command = Annotated[list[Argument], Form("program and its arguments"), AfterValidator(_not_empty)]
VariableName = Annotated[str, Form("name"), text(names.parse_variable_name)]
VariableValue = Annotated[str, Form("text"), text(names.parse_variable_value)]
CredentialName = Annotated[str, Form("name"), text(names.parse_credential_name)]
CallName = Annotated[str, Form("name"), text(fence_names.parse_call)]
ProcFile = Annotated[str, Form("name"), text(fence_names.parse_proc_file)]
Label = Annotated[str, Form("text"), text(fence_names.parse_label)]
