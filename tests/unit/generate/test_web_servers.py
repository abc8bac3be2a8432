"""Caddy's, HAProxy's and NixOS's files: goldens, and what is refused."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.conftest import Golden
from tests.support import packages
from tests.support.generated import check_goldens

from cloister.generate import caddy, haproxy, nixos
from cloister.generate.file import Generated
from cloister.generate.systemd import up
from cloister.generate.upstream import Protocol, Upstream, place_notes
from cloister.model.errors import UsageError
from cloister.model.listener import SocketOptions
from cloister.sockets.plan import plan_socket


def upstream(name: str, path: str, group: str, protocol: Protocol = Protocol.HTTP) -> Upstream:
    return Upstream(name, plan_socket(path, SocketOptions(group=group)), protocol)


WEB = upstream("web", "/run/web/web.sock", "web")
PHP = upstream("php", "/run/php.sock", "php", Protocol.FASTCGI)
SITE = nixos.Site("blog.example.org", WEB)


@pytest.mark.parametrize(
    ("case", "generated"),
    [
        ("caddy-http", caddy.generate(caddy.CaddyRequest(WEB, "https://*.example.org:8443"))),
        ("caddy-fastcgi", caddy.generate(caddy.CaddyRequest(PHP, ":8080", root="/srv/php"))),
        ("haproxy-http", haproxy.generate(haproxy.HaproxyRequest(WEB))),
        (
            "haproxy-tcp",
            haproxy.generate(
                haproxy.HaproxyRequest(
                    upstream("door", "/var/lib/haproxy/door.sock", "haproxy"),
                    mode=haproxy.Mode.TCP,
                    send_proxy=True,
                )
            ),
        ),
        (
            "haproxy-no-chroot",
            haproxy.generate(
                haproxy.HaproxyRequest(upstream("tmp", "/tmp/x.sock", "haproxy"), chroot=None)
            ),
        ),
        ("nixos", nixos.generate(nixos.NixosRequest())),
        ("nixos-site", nixos.generate(nixos.NixosRequest(SITE))),
    ],
)
def test_goldens(golden: Golden, case: str, generated: Generated) -> None:
    check_goldens(golden, case, generated)


@pytest.mark.parametrize("site", ["", "a b", "x {", "example.org\n", "a;b", '"a"', "{$HOME}"])
def test_a_site_that_is_no_address(site: str) -> None:
    with pytest.raises(UsageError, match="cannot be a site's address"):
        caddy.generate(caddy.CaddyRequest(WEB, site))


def test_a_fastcgi_site_needs_its_scripts() -> None:
    with pytest.raises(UsageError, match="needs the folder"):
        caddy.generate(caddy.CaddyRequest(PHP, ":80"))
    with pytest.raises(UsageError, match="concerns FastCGI"):
        caddy.generate(caddy.CaddyRequest(WEB, ":80", root="/srv"))


@pytest.mark.parametrize(
    "path",
    ["/run/{env.X}.sock", "/run/a b.sock", "/run/$x", "/run/#x", '/run/"x"', "run/x", "/run/\n"],
)
def test_a_socket_whose_path_would_be_read_otherwise(path: str) -> None:
    web = upstream("web", path, "web")
    for generate in (
        lambda: caddy.generate(caddy.CaddyRequest(web, ":80")),
        lambda: haproxy.generate(haproxy.HaproxyRequest(web)),
        lambda: nixos.generate(nixos.NixosRequest(nixos.Site("a.example", web))),
    ):
        with pytest.raises(UsageError, match="cannot be the socket"):
            generate()


def test_a_socket_in_the_root_cannot_be_shown_in_another() -> None:
    with pytest.raises(UsageError, match="cannot be shown to HAProxy"):
        haproxy.generate(haproxy.HaproxyRequest(upstream("x", "/x.sock", "haproxy")))


@pytest.mark.parametrize("domain", ["", "-a", "a b", 'a"', "${x}", "a;"])
def test_a_domain_that_is_none(domain: str) -> None:
    with pytest.raises(UsageError, match="cannot be a site's domain"):
        nixos.generate(nixos.NixosRequest(nixos.Site(domain, WEB)))


def test_a_colon_ends_a_path_in_nginx() -> None:
    site = nixos.Site("a.example", upstream("x", "/run/a:b.sock", "x"))
    with pytest.raises(UsageError) as error:
        nixos.generate(nixos.NixosRequest(site))
    assert "a colon ends" in (error.value.why or "")


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/tmp/x.sock", "PrivateTmp"),
        ("/var/tmp/a/x.sock", "PrivateTmp"),
        ("/home/a/x.sock", "ProtectHome"),
        ("/run/user/1000/x.sock", "ProtectHome"),
        ("/run/web/x.sock", None),
        ("/tmpx/x.sock", None),
    ],
)
def test_a_place_that_services_see_otherwise_is_told(path: str, word: str | None) -> None:
    notes = place_notes(path, "nginx.service")
    assert [word] if word else not notes
    assert all(word in note for note in notes if word)


STUB = """
let
  lib = {
    mkEnableOption = text: { option = text; };
    mkOption = option: option;
    mkIf = condition: value: if condition then value else { };
    genAttrs = names: make:
      builtins.listToAttrs (map (name: { inherit name; value = make name; }) names);
    types = { package = "package"; str = "str"; listOf = type: [ type ]; };
  };
  pkgs = {
    coreutils = "/nix/coreutils";
    formats.toml = _: { type = "toml"; generate = name: value: "/nix/${name}"; };
  };
  config.services.cloister = {
    enable = true;
    package = "/nix/cloister";
    settings = { };
    nginxGroups = [ "web" ];
  };
in builtins.toJSON ((import ./cloister.nix { inherit config lib pkgs; }).config)
"""


def test_nix_reads_the_modules_and_the_service_is_the_units(tmp_path: Path) -> None:
    """Evaluated by Nix itself, with the few functions of nixpkgs that the module calls."""
    packages.need("nix-bin")
    for file in nixos.generate(nixos.NixosRequest(SITE)).files:
        place = tmp_path / Path(file.path).name
        place.write_text(file.text)
        subprocess.run(["nix-instantiate", "--parse", place], check=True, capture_output=True)
    (tmp_path / "stub.nix").write_text(STUB)
    command = ["nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode"]
    done = subprocess.run(
        [*command, "stub.nix"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "NIX_STATE_DIR": str(tmp_path / "state"),
        },
    )
    assert done.returncode == 0, done.stderr
    config = json.loads(json.loads(done.stdout))
    service = config["systemd"]["services"]["cloister"]["serviceConfig"]
    request = up.UpRequest("/nix/cloister/bin/cloister", "/nix/cloister.toml")
    (unit,) = up.generate(request).files
    section = unit.text.split("[Service]\n")[1].split("[Install]")[0]
    expected = dict(line.split("=", 1) for line in section.splitlines() if line)
    expected["ExecReload"] = "/nix/coreutils/bin/kill -HUP $MAINPID"
    assert service == expected
    groups = config["systemd"]["services"]["nginx"]["serviceConfig"]["SupplementaryGroups"]
    assert groups == list(config["users"]["groups"]) == ["web"]
