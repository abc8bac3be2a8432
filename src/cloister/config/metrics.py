"""The settings of metrics, as they are written. See ``syntax``."""

from typing import Annotated

from pydantic import Discriminator, Tag

from cloister.config import forms
from cloister.config.forms import TABLE_FORM, WORD_FORM, Form, Table, setting
from cloister.model.listener import SocketOptions
from cloister.model.metrics import AppMetrics

_app = AppMetrics()
_socket = SocketOptions()


class AppMetricsTable(Table):
    """`[apps.NAME.metrics]`: how the application is asked for its metrics."""

    path: forms.HttpPath = setting(
        "Under which path it answers, on its own socket.",
        example='"/metrics"',
        default=_app.path,
    )
    tls: forms.Flag | None = setting(
        "Whether its socket speaks TLS. No certificate is checked: the socket itself says who "
        "answers.",
        example="true",
        default=None,
        default_text="whether the application has `tls`",
    )
    timeout: forms.Duration = setting(
        "How long the whole answer may take. Prometheus gives up after its `scrape_timeout`.",
        example='"5s"',
        default=_app.timeout,
    )
    max_size: forms.Size = setting(
        "How long the answer may be.",
        example='"16M"',
        default=_app.max_size,
    )
    listen: forms.Addresses | None = setting(
        "An address, or several, that offer the metrics of this application alone, as "
        "`/metrics`; written as those of a listener.",
        example='"127.0.0.1:9465"',
        default=None,
        default_text="none: only the addresses of `[metrics]` offer them",
    )


def _metrics_form(value: object) -> str:
    return TABLE_FORM if isinstance(value, dict | AppMetricsTable) else WORD_FORM


AppMetricsChoice = Annotated[
    Annotated[forms.HttpPath, Tag(WORD_FORM)] | Annotated[AppMetricsTable, Tag(TABLE_FORM)],
    Discriminator(_metrics_form),
    Form("path in a URL, or table"),
]


class MetricsTable(Table):
    """`[metrics]`: a gateway for a Prometheus that speaks only TCP.

    It offers Cloister's own metrics as `/metrics`, those of each application that has
    `metrics` as `/apps/NAME/metrics`, and the list of them all, for `http_sd_config`, as `/sd`.
    """

    listen: forms.Addresses = setting(
        "Where Prometheus asks; written as the addresses of a listener.",
        example='"127.0.0.1:9464"',
    )
    token: forms.PathText | None = setting(
        "A file with the bearer token that clients have to know; needed on addresses that "
        "other machines reach. It is read when the gateway starts.",
        example='"/etc/cloister/metrics-token"',
        default=None,
        default_text="none: whoever can connect may ask",
    )
    group: forms.Group | None = setting(
        "The group of the gateway's Unix sockets, those of applications included.",
        example='"prometheus"',
        default=_socket.group,
        default_text="the supervisor's group",
    )
    mode: forms.SocketMode = setting(
        "The permission bits of the gateway's Unix sockets.",
        example='"0660"',
        default=_socket.mode,
    )
