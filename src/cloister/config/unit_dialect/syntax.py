"""Unit's configuration as it is written (unit.nginx.org/configuration), checked value by value.

Keys that Unit knows and Cloister does not serve are refused by :data:`Table.refused`, each with
a sentence of its own, so that whoever brings them learns what to use instead.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticKnownError

from cloister.config import forms
from cloister.config.app_tables import MAX_THREADS
from cloister.config.forms import TABLE_FORM, WORD_FORM, Form, Refused, setting
from cloister.config.lifecycle import MAX_PROCESSES, MAX_REQUESTS
from cloister.config.listener_tables import MAX_BACKLOG
from cloister.config.supervisor_tables import MAX_WORKERS, CloisterTable, DoorTable
from cloister.config.unit_dialect import refusals, values
from cloister.model.id_map import LARGEST_ID
from cloister.model.lifecycle import Processes

MAX_SECONDS = 24 * 3600
"""Of a time-out."""

_processes = Processes()


def _yes_or_no(value: object) -> object:
    """``true``, or ``"true"`` as Unit's first announcement of isolation writes it."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _whole(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int):
        raise PydanticKnownError("int_type")
    return value


Flag = Annotated[bool, Form("true or false"), BeforeValidator(_yes_or_no)]
Number = Annotated[int, Form("number"), BeforeValidator(_whole)]
AnyText = Annotated[str, Form("text")]
Arguments = Annotated[list[forms.Argument], Form("list of texts")]
Paths = Annotated[
    list[forms.PathText], Form("path, or list of paths"), BeforeValidator(_one_or_more)
]
Environment = Annotated[dict[forms.VariableName, forms.VariableValue], Form("object of texts")]


class UnitTable(forms.Table):
    """An object whose members are all known; they are written as the fields are called."""

    model_config = ConfigDict(alias_generator=lambda name: name)


class ListenerObject(UnitTable):
    """`listeners`: each member's name is an address."""

    refused: ClassVar = refusals.LISTENER

    pass_: values.PassText = Field(
        alias="pass",
        description="Where connections go.",
        examples=[forms.Help('"applications/blog"', None)],
    )
    backlog: Number | None = setting(
        "Connections that may wait.", example="4096", default=None, at_least=1, at_most=MAX_BACKLOG
    )


class LimitsObject(UnitTable):
    """`limits` of an application."""

    refused: ClassVar = refusals.LIMITS

    timeout: Number | None = setting(
        "Seconds that a connection may move no byte before it is reset.",
        example="10",
        default=None,
        at_least=0,
        at_most=MAX_SECONDS,
    )
    requests: Number | None = setting(
        "Requests that a process answers at most before another one takes its place; 0 for any "
        "number. Type `python` only.",
        example="10000",
        default=None,
        at_least=0,
        at_most=MAX_REQUESTS,
    )


class ProcessesObject(UnitTable):
    """`processes` that depend on the load."""

    max: Number = setting(
        "How many there are at most.", example="10", default=1, at_least=1, at_most=MAX_PROCESSES
    )
    spare: Number = setting(
        "How many idle ones stand by.", example="2", default=0, at_least=0, at_most=MAX_PROCESSES
    )
    idle_timeout: Number = setting(
        "Seconds that an idle one is kept.",
        example="20",
        default=int(_processes.idle_timeout),
        at_least=0,
        at_most=MAX_SECONDS,
    )


def _processes_form(value: object) -> str:
    return TABLE_FORM if isinstance(value, dict | ProcessesObject) else WORD_FORM


ProcessesChoice = Annotated[
    Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MAX_PROCESSES), Tag(WORD_FORM)]
    | Annotated[ProcessesObject, Tag(TABLE_FORM)],
    Discriminator(_processes_form),
    Form("number, or object"),
]


class NamespacesObject(UnitTable):
    """`isolation.namespaces`: Unit's six, and two that came later."""

    cgroup: Flag = setting("The view of control groups.", example="true", default=False)
    credential: Flag = setting("User and group ids.", example="true", default=False)
    ipc: Flag = setting("System V objects, message queues.", example="true", default=False)
    mount: Flag = setting("The table of mounts.", example="true", default=False)
    network: Flag = setting("The network.", example="true", default=False)
    pid: Flag = setting("Processes.", example="true", default=False)
    time: Flag = setting("Clocks that count from the start.", example="true", default=False)
    uname: Flag = setting("The host name.", example="true", default=False)


class IdMappingObject(UnitTable):
    """One element of `isolation.uidmap` and `isolation.gidmap`."""

    container: Number = setting("The first id inside.", example="0", at_least=0, at_most=LARGEST_ID)
    host: Number = setting("The first id outside.", example="1000", at_least=0, at_most=LARGEST_ID)
    size: Number = setting("How many.", example="1000", at_least=1, at_most=LARGEST_ID + 1)


class AutomountObject(UnitTable):
    """`isolation.automount`: what a `rootfs` gets beside its own files."""

    language_deps: Flag = setting("The interpreter's files.", example="false", default=True)
    procfs: Flag = setting("A /proc.", example="false", default=True)
    tmpfs: Flag = setting("A /tmp.", example="false", default=True)


class CgroupObject(UnitTable):
    """`isolation.cgroup`: in which control group of the host an application runs."""

    path: values.CgroupText = setting(
        "Below the supervisor's group, or from the first one.", example='"production/blog"'
    )


class IsolationObject(UnitTable):
    """`isolation` of an application."""

    namespaces: NamespacesObject = setting(
        "Which namespaces are new.", example='{"network": true}', default=NamespacesObject()
    )
    uidmap: Annotated[list[IdMappingObject], Form("list of objects")] = setting(
        "The user ids inside.", example='[{"container": 0, "host": 1000, "size": 1}]', default=[]
    )
    gidmap: Annotated[list[IdMappingObject], Form("list of objects")] = setting(
        "The group ids inside.", example='[{"container": 0, "host": 1000, "size": 1}]', default=[]
    )
    rootfs: values.RootText | None = setting(
        "The folder that is the application's root.", example='"/srv/images/blog"', default=None
    )
    automount: AutomountObject = setting(
        "What the root gets.", example='{"tmpfs": false}', default=AutomountObject()
    )
    cgroup: CgroupObject | None = setting(
        "The control group.", example='{"path": "production/blog"}', default=None
    )
    new_privs: Flag = setting("Whether setuid programs give rights.", example="false", default=True)
    allow_host_root: forms.Sentence | None = setting(
        "Cloister's own: takes only the sentence `NAME-is-root-on-the-host`.",
        example='"blog-is-root-on-the-host"',
        default=None,
    )


class TargetObject(UnitTable):
    """One of the `targets` of a Python application."""

    refused: ClassVar = refusals.TARGET

    module: values.ModuleText = setting("The module.", example='"blog.wsgi"')
    callable: values.AttributeText = setting(
        "The callable in it.", example='"app"', default="application"
    )
    factory: Flag = setting("Whether it makes the application.", example="true", default=False)


class ApplicationObject(UnitTable):
    """`applications`: each member is one of type `external` or `python`."""

    refused: ClassVar = refusals.APPLICATION

    type: values.TypeText = setting("What runs it.", example='"external"')
    limits: LimitsObject = setting("Bounds.", example='{"timeout": 10}', default=LimitsObject())
    processes: ProcessesChoice | None = setting("How many.", example="4", default=None)
    user: forms.User | None = setting("As whom it runs.", example='"www-data"', default=None)
    group: forms.Group | None = setting("With which group.", example='"www-data"', default=None)
    working_directory: forms.PathText | None = setting(
        "Where it runs.", example='"/srv/blog"', default=None
    )
    environment: Environment = setting("Variables.", example='{"LANG": "C"}', default={})
    stdout: forms.PathText | None = setting(
        "A file for its output.", example='"/var/log/blog.log"', default=None
    )
    stderr: forms.PathText | None = setting(
        "A file for its errors.", example='"/var/log/blog-errors.log"', default=None
    )
    isolation: IsolationObject = setting(
        "What keeps it apart.",
        example='{"namespaces": {"network": true}}',
        default=IsolationObject(),
    )
    # type external
    executable: forms.PathText | None = setting(
        "The program.", example='"/srv/blog/server"', default=None
    )
    arguments: Arguments = setting("Its arguments.", example='["--quiet"]', default=[])
    # type python
    module: values.ModuleText | None = setting("The module.", example='"blog.wsgi"', default=None)
    callable: values.AttributeText = setting(
        "The callable in it.", example='"app"', default="application"
    )
    factory: Flag = setting("Whether it makes the application.", example="true", default=False)
    home: forms.PathText | None = setting(
        "A virtual environment.", example='"/srv/blog/venv"', default=None
    )
    path: Paths = setting("Module folders.", example='"/srv/blog"', default=[])
    protocol: Annotated[Literal["asgi", "wsgi"], Form("word")] | None = setting(
        "What it speaks.", example='"wsgi"', default=None
    )
    threads: Number = setting(
        "Threads of a process.", example="4", default=1, at_least=1, at_most=MAX_THREADS
    )
    targets: dict[str, TargetObject] = setting(
        "Several callables of one application.",
        example='{"blog": {"module": "blog"}}',
        default={},
    )


EXTERNAL_ONLY = frozenset({"executable", "arguments"})
PYTHON_ONLY = frozenset(
    {"module", "callable", "factory", "home", "path", "protocol", "threads", "targets"}
)


class SettingsObject(UnitTable):
    """`settings`."""

    refused: ClassVar = refusals.SETTINGS

    listen_threads: Number | None = setting(
        "Threads of the door.", example="2", default=None, at_least=1, at_most=MAX_WORKERS
    )


class UnitFile(UnitTable):
    """The whole configuration. `cloister` and `door` are Cloister's own."""

    refused: ClassVar = refusals.ROOT

    @model_validator(mode="before")
    @classmethod
    def _nothing_to_refuse(cls, value: object) -> object:
        """Without what is refused but empty: Unit's own first configuration has `routes`."""
        if not isinstance(value, dict):
            return value
        return {
            key: inner
            for key, inner in value.items()
            if not (key in ("routes", "upstreams") and inner in ([], {}))
        }

    cloister: CloisterTable = setting("Cloister's places.", example="{}", default=CloisterTable())
    door: DoorTable = setting("Cloister's door.", example="{}", default=DoorTable())
    settings: SettingsObject = setting(
        "Of Unit as a whole.", example='{"listen_threads": 2}', default=SettingsObject()
    )
    listeners: dict[values.ListenerAddress, ListenerObject] = setting(
        "Where connections come in.",
        example='{"*:8080": {"pass": "applications/blog"}}',
        default={},
    )
    applications: dict[str, ApplicationObject] = setting(
        "What serves.",
        example='{"blog": {"type": "external", "executable": "/srv/blog/server"}}',
        default={},
    )


__all__ = ["Refused", "UnitFile"]
