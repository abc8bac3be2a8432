"""Whose language a JSON document is, and what is served under which name. Standard library only:
the supervisor asks for it, which loads no parser.
"""

from typing import Any

from cloister.config.unit_dialect.names import app_names


def is_unit(document: dict[str, Any]) -> bool:
    """Whether a document is to be read as Unit's: any JSON that is not plainly Cloister's own.

    That has `apps`, or a listener with `listen`; in Unit's the listener's name is the address.
    """
    listeners = document.get("listeners")
    tables = listeners.values() if isinstance(listeners, dict) else ()
    return "apps" not in document and not any(
        isinstance(one, dict) and "listen" in one for one in tables
    )


def served(document: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Cloister's names of the applications by those that an accepted document of Unit's gives
    them; one with targets is several."""
    applications: dict[str, Any] = document.get("applications") or {}
    parts = {
        name: [f"{name}/{target}" for target in one["targets"]]
        if one.get("targets") and str(one.get("type", "")).startswith("python")
        else [name]
        for name, one in applications.items()
    }
    names = app_names(part for several in parts.values() for part in several)
    return {name: tuple(names[part] for part in several) for name, several in parts.items()}
