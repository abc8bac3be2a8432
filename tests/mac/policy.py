"""Building the SELinux module into a private copy of the system's policy, and asking it."""

import re
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tests.support import packages

from cloister.generate.mandatory_access import MandatoryAccessRequest
from cloister.generate.selinux import generate

PACKAGES = (
    *("selinux-policy-default", "selinux-policy-dev", "setools"),
    *("policycoreutils", "semodule-utils", "checkpolicy", "make"),
)

DOOR = "cloister_door_t"

_RULE = re.compile(
    r"allow (\S+) (\S+):(\S+) (?:\{ ([^}]+) \}|(\S+));(?: \[ ([^]]+) \]:(True|False))?"
)


@dataclass(frozen=True)
class Rule:
    """One allow rule as sesearch(1) prints it; attributes stand unexpanded."""

    source: str
    target: str
    kind: str
    permissions: frozenset[str]
    boolean: str | None
    """On which boolean's being on it depends; with ``! `` before, off; ``None``: on none."""


class Policy:
    """A store of its own with the module in it: the running system is not touched."""

    def __init__(self, folder: Path) -> None:
        """Builds it in ``folder``; about 20 s."""
        packages.need(*PACKAGES)
        self.sources = build(folder / "module", MandatoryAccessRequest())
        store = folder / "store"
        for part in ("etc/selinux", "var/lib/selinux"):
            shutil.copytree(f"/{part}", store / part, symlinks=True)
        _run("semodule", "-n", "-p", store, "-s", "default", "-i", self.sources / "cloister.pp")
        (self._binary,) = (store / "etc/selinux/default/policy").glob("policy.*")
        self._file_contexts = store / "etc/selinux/default/contexts/files/file_contexts"
        self._attributes = _attributes(_run("seinfo", self._binary, "-x", "-a"))
        self._rules = _rules(_run("sesearch", "--allow", self._binary))

    def rules(self, source: str, kind: str, permission: str | None = None) -> list[Rule]:
        """Every rule of ``source``, its attributes' among them, for a class of objects."""
        return [
            rule
            for name in self._names(source)
            for rule in self._rules[name, kind]
            if permission is None or permission in rule.permissions
        ]

    def granted(self, target: str, kind: str, *on: str, source: str = DOOR) -> set[str]:
        """What ``source`` may do to ``target`` with exactly the booleans ``on`` on."""
        targets = self._names(target)
        return {
            permission
            for rule in self.rules(source, kind)
            if rule.target in targets and (rule.boolean is None or rule.boolean in on)
            for permission in rule.permissions
        }

    def ask(self, program: str, *arguments: str) -> str:
        """What sesearch(1) or seinfo(1) prints about the policy."""
        return _run(program, self._binary, *arguments)

    def label(self, path: str) -> str:
        """The type that restorecon(8) gives to a path."""
        printed = _run("matchpathcon", "-n", "-f", self._file_contexts, path)
        return printed.strip().split(":")[2]

    def _names(self, type_: str) -> set[str]:
        return {type_} | self._attributes[type_]


def build(folder: Path, request: MandatoryAccessRequest) -> Path:
    """Writes and compiles the module; returns the folder with its ``.pp``."""
    folder.mkdir()
    for file in generate(request).files:
        (folder / Path(file.path).name).write_text(file.text)
    compile_module(folder, request.name)
    return folder


def compile_module(folder: Path, name: str) -> None:
    """Compiles ``name.te`` with every interface of its folder and of the system."""
    makefile = "/usr/share/selinux/devel/Makefile"
    _run("make", "-s", "-C", folder, "-f", makefile, f"{name}.pp")


def _attributes(printed: str) -> defaultdict[str, set[str]]:
    """Each type's attributes."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    attribute = ""
    for line in printed.splitlines():
        words = line.rstrip(";").split()
        if words[:1] == ["attribute"]:
            attribute = words[1]
        elif line.startswith("\t"):
            found[words[0]].add(attribute)
    assert "domain" in found[DOOR], printed[:1000]
    return found


def _rules(printed: str) -> defaultdict[tuple[str, str], list[Rule]]:
    """Rules by source and class, as they stand."""
    found: defaultdict[tuple[str, str], list[Rule]] = defaultdict(list)
    for line in printed.splitlines():
        parts = _RULE.fullmatch(line.strip())
        if parts is None:
            assert not line.startswith("allow "), line
            continue
        source, target, kind, many, one, boolean, branch = parts.groups()
        if branch == "False":
            boolean = f"! {boolean}"
        permissions = frozenset((many or one).split())
        found[source, kind].append(Rule(source, target, kind, permissions, boolean))
    return found


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout
