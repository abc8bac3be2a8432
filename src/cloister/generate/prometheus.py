"""A job for Prometheus that finds everything which the gateway offers."""

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from cloister.generate import checks
from cloister.generate.file import Generated, GeneratedFile
from cloister.model.errors import UsageError


@dataclass(frozen=True, slots=True)
class PrometheusRequest:
    """One gateway."""

    url: str
    """Of the gateway: ``http://127.0.0.1:9464``."""
    token_file: str | None = None
    """Where Prometheus finds the gateway's token; an absolute path."""
    job: str = "cloister"
    interval: str | None = None
    """``scrape_interval``, where it is not to be Prometheus' own."""


def generate(request: PrometheusRequest) -> Generated:
    """The job in a file of its own, which is a whole configuration by itself."""
    url = _base(request.url)
    job = checks.name(request.job, "a job")
    lines = [
        "scrape_configs:",
        f"  - job_name: {job}",
    ]
    if request.interval is not None:
        lines.append(f"    scrape_interval: {_quote(checks.line(request.interval, 'an interval'))}")
    if url.startswith("https:"):
        lines.append("    scheme: https")
    lines += [
        "    # Cloister's own metrics, and those of every application that has some; the label",
        "    # `app` of a target is the application's name.",
        "    http_sd_configs:",
        f"      - url: {_quote(f'{url}/sd')}",
        "        refresh_interval: 30s",
    ]
    if request.token_file is not None:
        token = _quote(checks.path(request.token_file, "the token's file"))
        # The type is written because http_sd of Prometheus 2.42 has no default for it.
        authorization = ["authorization:", "  type: Bearer", f"  credentials_file: {token}"]
        lines += [f"        {line}" for line in authorization]
        lines += [f"    {line}" for line in authorization]
    steps = [
        "in prometheus.yml: `scrape_config_files: [cloister.yml]` (Prometheus 2.43 or later), "
        "or copy the job",
        "promtool check config /etc/prometheus/cloister.yml && systemctl reload prometheus",
    ]
    if request.token_file is not None:
        steps.insert(0, f"let Prometheus, and nobody else, read {request.token_file}")
    file = GeneratedFile("/etc/prometheus/cloister.yml", "\n".join([*lines, ""]))
    return Generated((file,), tuple(steps))


def _base(url: str) -> str:
    parts = urlsplit(checks.line(url, "a URL"))
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(
            f"{url!r} is no gateway's URL",
            why="it has a scheme, a host and a port",
            hint="for example http://127.0.0.1:9464, as `listen` in [metrics] says",
        )
    return url.rstrip("/")


def _quote(text: str) -> str:
    """A double-quoted scalar of YAML, which JSON's strings are."""
    return json.dumps(text)
