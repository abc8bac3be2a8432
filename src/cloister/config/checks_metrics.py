"""What has to hold between the settings of metrics and the rest. See ``checks``."""

import ipaddress

from cloister.config.lines import KeyPath
from cloister.config.problems import Code
from cloister.config.surroundings import Report
from cloister.config.validation import Checked
from cloister.model.app import Endpoint
from cloister.model.listener import Address, TcpAddress, VsockAddress
from cloister.model.snapshot import Snapshot


def check_metrics(snapshot: Snapshot, checked: Checked, report: Report) -> None:
    """Reports metrics that nobody could ask for, and those that anybody could."""
    gateway = snapshot.metrics.listen
    if checked.complete(("metrics",)):
        for app in snapshot.apps:
            path: KeyPath = ("apps", app.name, "metrics")
            if app.metrics is None:
                continue
            if app.endpoint is Endpoint.HANDOFF:
                report.add(
                    Code.CONFLICTING_KEYS,
                    '`metrics` does not go with `endpoint = "handoff"`',
                    path,
                    why="the gateway connects to the application's socket, which takes only "
                    "connections that are handed over",
                    hint="remove one of them",
                )
            if not gateway and not app.metrics.listen:
                report.add(
                    Code.UNUSED_SETTING,
                    f"nobody can ask for the metrics of {app.name}",
                    path,
                    why="there is no [metrics] with `listen`",
                    hint='add [metrics] with listen = "127.0.0.1:9464"',
                )
            _guarded(app.metrics.listen, (*path, "listen"), snapshot, report)
        _guarded(gateway, ("metrics", "listen"), snapshot, report)


def _guarded(
    addresses: tuple[Address, ...], path: KeyPath, snapshot: Snapshot, report: Report
) -> None:
    if snapshot.metrics.token is not None:
        return
    for address in addresses:
        if _is_open(address):
            report.add(
                Code.UNGUARDED_METRICS,
                f"whoever reaches {address} could read the metrics",
                path,
                why="other machines can, and [metrics] has no `token`",
                hint='add token = "/etc/cloister/metrics-token", or listen on 127.0.0.1',
            )
            break


def _is_open(address: Address) -> bool:
    """Whether others than this machine's processes may reach it."""
    if isinstance(address, TcpAddress):
        return not ipaddress.ip_address(address.host.partition("%")[0]).is_loopback
    return isinstance(address, VsockAddress)
