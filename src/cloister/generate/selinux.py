"""An SELinux module for the door: type enforcement, file contexts and interfaces.

Written for the reference policy, as Debian packages it (2.20221101), with which it is built,
queried and run enforcing. Where Red Hat's policy has another name for an interface, m4 picks
the one that exists.

What differs from the module that is often copied for systemd-socket-proxyd: its rule for the
case that any port is *not* allowed named ``port_type``, which is every port.
"""

import string

from cloister.generate.file import Generated, GeneratedFile
from cloister.generate.mandatory_access import MandatoryAccessRequest
from cloister.generate.selinux_text import FILE_CONTEXTS, INTERFACES, TYPE_ENFORCEMENT

VERSION = "1.0.0"
"""The module's; a person raises it when the policy's meaning changes."""


class _Template(string.Template):
    # `$` begins an argument in m4.
    delimiter = "@"
    idpattern = r"[a-z_]+"


def generate(request: MandatoryAccessRequest) -> Generated:
    """The three sources of the module, and how they are built and installed."""
    values = {"module": request.name, "door": f"{request.name}_door", "version": VERSION}
    folder = f"/usr/local/src/{request.name}-selinux"
    files = (
        GeneratedFile(f"{folder}/{request.name}.te", _fill(TYPE_ENFORCEMENT, values)),
        GeneratedFile(
            f"{folder}/{request.name}.fc",
            _fill(FILE_CONTEXTS, values) + _file_contexts(request),
        ),
        GeneratedFile(f"{folder}/{request.name}.if", _fill(INTERFACES, values)),
    )
    programs = " ".join(request.programs)
    folders = " ".join((*request.runtime_directories, *request.hosts_directories))
    steps = (
        f"make -C {folder} -f /usr/share/selinux/devel/Makefile {request.name}.pp",
        f"semodule -i {folder}/{request.name}.pp",
        f"restorecon -RFv {programs} {folders} /etc/systemd/system",
        f"semanage port -a -t {request.name}_door_port_t -p tcp PORT, for each port that the"
        " door listens on or connects to (-m where another type has it)",
    )
    return Generated(files, steps)


def _fill(text: str, values: dict[str, str]) -> str:
    return _Template(text).substitute(values)


def _file_contexts(request: MandatoryAccessRequest) -> str:
    door = f"{request.name}_door"
    rows = [(_escape(program), "--", f"{door}_exec_t") for program in request.programs]
    rows += [(_below(folder), "", f"{door}_var_run_t") for folder in request.runtime_directories]
    rows += [(_below(folder), "", f"{door}_hosts_t") for folder in request.hosts_directories]
    return "".join(
        f"{pattern}\t{kind}\tgen_context(system_u:object_r:{label},s0)\n".replace("\t\t", "\t")
        for pattern, kind, label in rows
    )


def _below(folder: str) -> str:
    return f"{_escape(folder)}(/.*)?"


def _escape(path: str) -> str:
    """For file_contexts(5), whose paths are regular expressions."""
    return path.replace(".", r"\.").replace("+", r"\+")
