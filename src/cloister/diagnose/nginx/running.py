"""The nginx of this host: which configuration it runs with, and what it complains about."""

import os

from cloister.diagnose.facts import Place, Process
from cloister.diagnose.nginx.config import Configuration, read
from cloister.diagnose.nginx.log import Complaint
from cloister.diagnose.probes.protocol import Probes
from cloister.diagnose.target import Target

DEFAULT = "/etc/nginx/nginx.conf"
_PREFIX = "/etc/nginx"


def configuration(probes: Probes) -> Configuration:
    """Of the running master, else the one that is read at a start; empty where there is none."""
    running = probes.named("nginx")
    path = next((found for found in map(_file, running) if found), DEFAULT)
    return read(path, probes.read)


def leads_to(found: Configuration, place: Place) -> Target | None:
    """The line of the configuration that leads there."""
    return next((target for target in found.targets if target.place == place), None)


def complained_of(complaint: Complaint, found: Configuration, probes: Probes) -> Target | None:
    """What a line of the log is about, with the line of the configuration where it is known."""
    if complaint.line is not None:
        file, number = complaint.line
        for target in read(file, probes.read).targets:
            if target.line is not None and (target.line.file, target.line.line) == (file, number):
                return target
    if complaint.place is None:
        return None
    return leads_to(found, complaint.place) or Target(complaint.place, complaint.speech)


def _file(process: Process) -> str | None:
    """From the title that a master gives itself: ``nginx: master process nginx -c FILE``."""
    title = " ".join(process.command)
    if "master process" not in title:
        return None
    words = title.split()
    prefix = words[words.index("-p") + 1] if "-p" in words[:-1] else _PREFIX
    if "-c" in words[:-1]:
        return os.path.join(prefix, words[words.index("-c") + 1])  # noqa: PTH118
    return DEFAULT if prefix == _PREFIX else os.path.join(prefix, "conf/nginx.conf")  # noqa: PTH118
