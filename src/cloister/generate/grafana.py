"""A dashboard for Grafana, from the metrics that :mod:`cloister.observe.metrics` names."""

import json
from dataclasses import dataclass
from typing import Any

from cloister.generate import checks
from cloister.generate.file import Generated, GeneratedFile

_SOURCE = {"type": "prometheus", "uid": "${source}"}
_WIDTH = 24
"""Columns of a dashboard."""


@dataclass(frozen=True, slots=True)
class GrafanaRequest:
    """One dashboard."""

    title: str = "Cloister"
    job: str = "cloister"
    """The job's name in Prometheus."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: a title, what it shows, and its unit."""

    title: str
    queries: tuple[tuple[str, str], ...]
    """Each a query and the legend of its series."""
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    description: str = ""


def generate(request: GrafanaRequest) -> Generated:
    """The dashboard, for a folder from which Grafana provisions dashboards."""
    title = checks.line(request.title, "a title")
    job = checks.name(request.job, "a job")
    dashboard = {
        "title": title,
        "uid": "cloister",
        "tags": ["cloister"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source_variable(), _app_variable(job)]},
        "panels": _layout(panels(job)),
    }
    text = json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
    file = GeneratedFile("/var/lib/grafana/dashboards/cloister.json", text)
    return Generated(
        (file,),
        (
            "import the file in Grafana, or provision its folder "
            "(/etc/grafana/provisioning/dashboards)",
        ),
    )


def panels(job: str) -> tuple[Panel, ...]:
    """Every panel, in reading order."""
    own = f'job="{job}"'
    app = f'job="{job}",app=~"$app"'

    def quantiles(name: str) -> tuple[tuple[str, str], ...]:
        bucket = (
            f"sum by (le) (rate(cloister_door_{name}_seconds_bucket{{{own}}}[$__rate_interval]))"
        )
        return tuple(
            (f"histogram_quantile({share}, {bucket})", f"{round(share * 100)} %")
            for share in (0.5, 0.9, 0.99)
        )

    def rate(name: str, matchers: str, labels: str) -> str:
        return f"sum by ({labels}) (rate({name}{{{matchers}}}[$__rate_interval]))"

    return (
        Panel(
            "Applications that serve",
            ((f"sum(cloister_app_ready{{{own}}})", ""),),
            kind="stat",
            width=6,
        ),
        Panel(
            "Applications that do not",
            ((f"count(cloister_app_ready{{{own}}} == 0) or vector(0)", ""),),
            kind="stat",
            width=6,
        ),
        Panel(
            "Open connections",
            ((f"sum(cloister_door_connections{{{own}}})", ""),),
            kind="stat",
            width=6,
        ),
        Panel(
            "Door",
            ((f"min(cloister_door_ready{{{own}}})", ""),),
            kind="stat",
            width=6,
            description="1 while it serves.",
        ),
        Panel(
            "Connections by application",
            ((rate("cloister_app_connections_accepted_total", app, "app"), "{{app}}"),),
            unit="cps",
        ),
        Panel(
            "Bytes by application",
            (
                (
                    rate("cloister_app_relayed_bytes_total", app, "app, direction"),
                    "{{app}} {{direction}}",
                ),
            ),
            unit="Bps",
        ),
        Panel(
            "Open connections by application",
            ((f"cloister_app_connections{{{app}}}", "{{app}}"),),
        ),
        Panel(
            "Processors by application",
            ((f"rate(cloister_app_cpu_seconds_total{{{app}}}[$__rate_interval])", "{{app}}"),),
            width=6,
        ),
        Panel(
            "Memory by application",
            ((f"cloister_app_memory_bytes{{{app}}}", "{{app}}"),),
            unit="bytes",
            width=6,
        ),
        Panel(
            "Disks by application",
            (
                (
                    rate("cloister_app_disk_bytes_total", app, "app, direction"),
                    "{{app}} {{direction}}",
                ),
            ),
            unit="Bps",
            width=6,
        ),
        Panel(
            "Held back by limits",
            (
                (
                    f"rate(cloister_app_throttled_seconds_total{{{app}}}[$__rate_interval])",
                    "{{app}} waits",
                ),
                (
                    f"increase(cloister_app_oom_kills_total{{{app}}}[1h]) > 0",
                    "{{app}} out of memory",
                ),
                (
                    f"increase(cloister_app_tasks_refused_total{{{app}}}[1h]) > 0",
                    "{{app}} tasks refused",
                ),
            ),
            width=6,
        ),
        Panel(
            "How connections end",
            (
                (
                    rate("cloister_door_connections_ended_total", own, "outcome") + " > 0",
                    "{{outcome}}",
                ),
            ),
            unit="cps",
            description="Refusals are among them.",
        ),
        Panel(
            "Until the hello is complete",
            quantiles("hello"),
            unit="s",
            description="From accept to the end of the ClientHello: slow clients and networks.",
        ),
        Panel(
            "Until the target is connected",
            quantiles("connect"),
            unit="s",
            description="Full queues and slow networks behind the door.",
        ),
        Panel(
            "Until the target answers",
            quantiles("answer"),
            unit="s",
            description="From accept to the target's first byte.",
        ),
        Panel(
            "Restarts",
            ((f"increase(cloister_app_restarts_total{{{app}}}[1h]) > 0", "{{app}}"),),
            description="In the hour before.",
        ),
        Panel(
            "Scrapes of applications",
            ((f"cloister_scrape_duration_seconds{{{app}}}", "{{app}}"),),
            unit="s",
        ),
        Panel(
            "Applications without metrics",
            (
                (
                    rate("cloister_scrape_failures_total", app, "app, reason") + " > 0",
                    "{{app}}: {{reason}}",
                ),
            ),
            width=12,
        ),
        Panel(
            "The door's own trouble",
            (
                (rate("cloister_door_accept_pauses_total", own, "job"), "pauses"),
                (rate("cloister_door_log_lines_lost_total", own, "job"), "log lines lost"),
                (f"increase(cloister_door_restarts_total{{{own}}}[1h])", "restarts in an hour"),
            ),
            width=12,
        ),
    )


def _layout(found: tuple[Panel, ...]) -> list[dict[str, Any]]:
    """The panels in rows, from the left to the right."""
    placed = []
    x = y = 0
    height = 0
    for number, panel in enumerate(found, 1):
        if x + panel.width > _WIDTH:
            x, y = 0, y + height
        height = 4 if panel.kind == "stat" else 8
        place = {"x": x, "y": y, "w": panel.width, "h": height}
        placed.append(_panel(number, panel, place))
        x += panel.width
    return placed


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "expr": query,
                "legendFormat": legend,
                "datasource": _SOURCE,
            }
            for index, (query, legend) in enumerate(panel.queries)
        ],
    }


def _source_variable() -> dict[str, Any]:
    return {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}


def _app_variable(job: str) -> dict[str, Any]:
    query = f'label_values(cloister_app_ready{{job="{job}"}}, app)'
    return {
        "name": "app",
        "type": "query",
        "label": "Application",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "apps"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
