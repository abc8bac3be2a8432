"""A NixOS module for the supervisor, and one for each web site before a socket.

The supervisor's service has the very lines of ``systemd.up``: what NixOS runs is what the
unit says elsewhere.
"""

import json
import re
from dataclasses import dataclass

from cloister.generate import checks
from cloister.generate.door import DoorOptions
from cloister.generate.file import Generated, GeneratedFile
from cloister.generate.systemd import up
from cloister.generate.upstream import Upstream, group_to_join, place_notes, plain_socket
from cloister.model.errors import UsageError
from cloister.sockets.plan import Client

FOLDER = "/etc/nixos"
NGINX = Client("nginx", "nginx")
"""As whom NixOS runs it."""
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_START = "${cfg.package}/bin/cloister up --log-format=json ${settings}"
_RELOAD = "${pkgs.coreutils}/bin/kill -HUP $MAINPID"


@dataclass(frozen=True, slots=True)
class Site:
    """A virtual host of nginx's before one socket."""

    domain: str
    upstream: Upstream


@dataclass(frozen=True, slots=True)
class NixosRequest:
    """The module, and a site where one is wished."""

    site: Site | None = None


def generate(request: NixosRequest) -> Generated:
    """``cloister.nix`` and the site's module. Raises :class:`UsageError`."""
    files = [GeneratedFile(f"{FOLDER}/cloister.nix", _module())]
    steps: list[str] = []
    if request.site is not None:
        name = checks.name(request.site.upstream.name, "a module's file")
        files.append(GeneratedFile(f"{FOLDER}/cloister-{name}.nix", _site(request.site)))
        steps += place_notes(request.site.upstream.socket, "nginx.service")
    imports = " ".join(f"./{file.path.rsplit('/', 1)[1]}" for file in files)
    steps += [
        f"add to configuration.nix: imports = [ {imports} ];",
        "set services.cloister.enable, .package and .settings",
        "nixos-rebuild test",
    ]
    return Generated(tuple(files), tuple(steps))


def _string(text: str) -> str:
    """A Nix string. JSON's escapes are Nix's, but for ``${``, which begins a value."""
    return json.dumps(text, ensure_ascii=False).replace("${", "\\${")


def _module() -> str:
    unit = dict(line.split("=", 1) for line in up.UNIT_LINES)
    service = [
        line.split("=", 1)
        for line in up.service_lines(_START, _RELOAD, DoorOptions(oom_score_adjust=None))
        if line
    ]
    lists = {
        name: " ".join(_string(word) for word in unit[name].split()) for name in ("After", "Wants")
    }
    # The two command lines hold values of this module; everything else is text.
    lines = [
        f'        {name} = "{value}";'
        if name in {"ExecStart", "ExecReload"}
        else f"        {name} = {_string(value)};"
        for name, value in service
    ]
    return _MODULE.format(
        description=_string(unit["Description"]),
        after=lists["After"],
        wants=lists["Wants"],
        service="\n".join(lines),
    )


_MODULE = """\
# Cloister on NixOS: made by `cloister generate nixos`.
{{ config, lib, pkgs, ... }}:

let
  cfg = config.services.cloister;
  toml = pkgs.formats.toml {{ }};
  settings = toml.generate "cloister.toml" cfg.settings;
in
{{
  options.services.cloister = {{
    enable = lib.mkEnableOption "Cloister, services in cells behind one door";
    package = lib.mkOption {{
      type = lib.types.package;
      description = "The package that has bin/cloister, bin/cloister-door and bin/cloister-cell.";
    }};
    settings = lib.mkOption {{
      type = toml.type;
      default = {{ }};
      example = {{ listeners.https.listen = "*:443"; }};
      description = "What would stand in cloister.toml.";
    }};
    nginxGroups = lib.mkOption {{
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "web" ];
      description = "Groups of sockets that nginx may connect to.";
    }};
  }};

  config = lib.mkIf cfg.enable {{
    users.groups = lib.genAttrs cfg.nginxGroups (_: {{ }});

    systemd.services.cloister = {{
      description = {description};
      after = [ {after} ];
      wants = [ {wants} ];
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {{
{service}
      }};
    }};

    # Groups are given when a service starts; nginx runs as its own user from the beginning.
    systemd.services.nginx.serviceConfig = lib.mkIf (cfg.nginxGroups != [ ]) {{
      SupplementaryGroups = cfg.nginxGroups;
    }};
  }};
}}
"""


def _site(site: Site) -> str:
    if not _DOMAIN.fullmatch(site.domain):
        raise UsageError(
            f"{site.domain!r} cannot be a site's domain", hint="write it as `blog.example.org`"
        )
    socket = plain_socket(site.upstream.socket)
    if ":" in socket:
        raise UsageError(
            f"{socket!r} cannot be the socket",
            why="in nginx's `proxy_pass` a colon ends a socket's path",
            hint="take another path",
        )
    group = group_to_join(site.upstream.plan, NGINX)
    joins = "" if group is None else f"  services.cloister.nginxGroups = [ {_string(group)} ];\n\n"
    return _SITE.format(
        domain=_string(site.domain), target=_string(f"http://unix:{socket}"), joins=joins
    )


_SITE = """\
# A site before a socket of Cloister's: made by `cloister generate nixos`.
{{ ... }}:

{{
{joins}  services.nginx.enable = true;
  services.nginx.virtualHosts.{domain}.locations."/" = {{
    proxyPass = {target};
    proxyWebsockets = true;
    recommendedProxySettings = true;
  }};
}}
"""
