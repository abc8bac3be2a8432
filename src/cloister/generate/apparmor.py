"""An AppArmor profile for the door.

It uses no abstraction: the smallest one that holds the C library, ``abstractions/base``, also
gives the journal's and the log's sockets, every file below /usr/lib and being traced.

Until Linux 6.16 no kernel but Ubuntu's asks AppArmor about connecting to a Unix socket or
about a folder opened with ``O_PATH``: there the rules for hosts directories bind opening and
making files, and the permissions of the sockets bind the rest (apparmor.d(5), "Unix socket
rules").
"""

from cloister.generate.file import Generated, GeneratedFile
from cloister.generate.mandatory_access import MandatoryAccessRequest, Reach

_HEAD = """\
# The front door: it takes connections on sockets that it was started with, and connects to
# services. What is not named here is denied and logged.

abi <abi/3.0>,

include <tunables/global>
"""

_PROGRAM = """\
  # The program, which a keeper executes again, and the C library.
  {programs} mrix,
  /etc/ld.so.cache r,
  /{{usr/,}}lib{{,32,64}}/{{,@{{multiarch}}/}}*.so* mr,
  owner @{{PROC}}/@{{pid}}/{{auxv,maps}} r,
  /dev/null rw,

  # How many CPUs there are, how many of them are the door's, and whether it has a network.
  @{{sys}}/devices/system/cpu/online r,
  owner @{{PROC}}/@{{pid}}/{{cgroup,mountinfo}} r,
  @{{PROC}}/@{{pid}}/net/dev r,
  @{{sys}}/fs/cgroup/{{,**/}}cpu.{{max,cfs_quota_us,cfs_period_us}} r,

  # Who may stop it: a keeper too. Nobody may trace it.
  signal (receive) set=(exists, hup, int, quit, abrt, term, kill, cont, usr2) peer=unconfined,
  signal (receive, send) set=(exists, hup, int, kill, term, usr1) peer={profile},
"""

_UNIX = """\
  # Unix sockets: listening, services, sd_notify(3), the journal,
  # and between a keeper or a supervisor and its door.
  network unix stream,
  network unix dgram,
  network unix seqpacket,
  unix (accept, bind, connect, create, getattr, getopt, listen, receive, send, setopt, shutdown)
    type=stream,
  unix (connect, create, getattr, getopt, send, setopt) type=dgram,
  unix (create, getattr, getopt, receive, send, setopt, shutdown) type=seqpacket,
  @{run}/systemd/notify w,
  @{run}/systemd/journal/stdout rw,
"""

_TCP = """\
  # TCP: clients, and services by address.
  network inet stream,
  network inet6 stream,

  # Services by name: the door asks name servers itself.
  network inet dgram,
  network inet6 dgram,
  /etc/{hosts,resolv.conf,services} r,
  @{run}/{NetworkManager,resolvconf,systemd/resolve}/{,stub-,no-stub-}resolv.conf r,
"""

_CLIENTS = """\
  # TCP: clients. The kernel's rules do not tell accepting from connecting; the door's own
  # filter of system calls does.
  network inet stream,
  network inet6 stream,
"""

_VSOCK = """\
  # Virtual machines.
  network vsock stream,
"""

_USER = """\
  # --user, and what is given up with it.
  capability kill,
  capability setgid,
  capability setpcap,
  capability setuid,
  /etc/passwd r,
"""


def profile_name(request: MandatoryAccessRequest) -> str:
    """The profile's name, as ``AppArmorProfile=`` of systemd.exec(5) and ``ps -Z`` have it."""
    return f"{request.name}-door"


def generate(request: MandatoryAccessRequest) -> Generated:
    """The profile, and how it is loaded."""
    profile = profile_name(request)
    place = f"/etc/apparmor.d/{profile}"
    attach = _alternatives(request.programs)
    parts = [_PROGRAM.format(programs=attach, profile=profile), _UNIX]
    parts.append(_TCP if Reach.TCP in request.reaches else _CLIENTS)
    if Reach.VSOCK in request.reaches:
        parts.append(_VSOCK)
    if request.changes_user:
        parts.append(_USER)
    parts.append(_folders(request))
    parts.append(
        "  # The administrator's own rules.\n" + f"  include if exists <local/{profile}>\n"
    )
    body = "\n".join(parts)
    # With a mount namespace of its own (systemd's PrivateTmp= and others), descriptors from
    # outside have paths that end above its root.
    flags = "flags=(attach_disconnected)"
    text = f"{_HEAD}\nprofile {profile} {attach} {flags} {{\n{body}}}\n"
    return Generated(
        (GeneratedFile(place, text),),
        (
            f"apparmor_parser --replace {place}",
            "restart the door: a profile holds from the next start of its program",
            f"aa-status | grep {profile}",
        ),
    )


def _folders(request: MandatoryAccessRequest) -> str:
    lines = ["  # Sockets of its own, and of the services behind it."]
    lines += [f"  {folder}/{{,**}} rw," for folder in request.runtime_directories]
    lines += [f"  {folder}/**/{{tls,handoff}}-socket rw," for folder in request.hosts_directories]
    return "\n".join([*lines, ""])


def _alternatives(paths: tuple[str, ...]) -> str:
    if len(paths) == 1:
        return paths[0]
    return "/{" + ",".join(path.lstrip("/") for path in paths) + "}"
