"""The configuration as it is written: every setting once, with its help and an example.

These models check keys, types and the form of single values. Nothing here looks at the
machine or at two settings together: that is ``resolve`` and ``files``. The descriptions are
what docs/configuration.md says; ``reference`` renders it.
"""

from typing import Annotated

from cloister.config import forms
from cloister.config.app_tables import AppTable
from cloister.config.forms import Form, Table, setting
from cloister.config.listener_tables import ListenerTable
from cloister.config.metrics import MetricsTable
from cloister.config.signing import SignerTable
from cloister.config.supervisor_tables import CloisterTable, DoorTable


class File(Table):
    """The whole file."""

    cloister: CloisterTable = setting(
        "The supervisor's own places.", example="{}", default=CloisterTable()
    )
    door: DoorTable = setting("The front door.", example="{}", default=DoorTable())
    metrics: MetricsTable | None = setting(
        "The gateway for Prometheus.",
        example='{ listen = "127.0.0.1:9464" }',
        default=None,
        default_text="none",
    )
    signer: Annotated[dict[forms.StoreName, SignerTable], Form("table of tables")] = setting(
        "The stores of which the signer has the keys.",
        example='{ backups = { bucket = "example-backups", region = "eu-central-1", '
        'credentials = "/etc/cloister/s3-credentials" } }',
        default={},
        default_text="none",
    )
    listeners: dict[forms.ListenerName, ListenerTable] = setting(
        "Where connections come in.",
        example='{ https = { listen = "*:443" } }',
        default={},
        default_text="none",
    )
    apps: dict[forms.AppName, AppTable] = setting(
        "The applications.",
        example='{ blog = { python = "blog:app", hosts = ["blog.example.org"] } }',
        default={},
        default_text="none",
    )
