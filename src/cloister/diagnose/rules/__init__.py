"""The rules, one kind of cause each.

A rule is a function from a :class:`~cloister.diagnose.case.Case` to findings. It looks at
the case only, says nothing where all is well, and leaves to another rule what is that one's.
"""

from collections.abc import Callable, Iterator

from cloister.diagnose.case import Case
from cloister.diagnose.rules import (
    access_list,
    chroot,
    execute_bit,
    foreign_listener,
    full_backlog,
    mac_denial,
    missing_socket,
    mount_view,
    names,
    network_view,
    nginx_path,
    nginx_syntax,
    no_listener,
    not_a_socket,
    open_files,
    path_too_long,
    private_tmp,
    process_groups,
    process_limit,
    proxy_header,
    second_listener,
    silence,
    socket_group,
    socket_mode,
    stale_socket,
    tls,
    unit_state,
    wrong_type,
)
from cloister.model.finding import Finding

Rule = Callable[[Case], Iterator[Finding]]

MODULES = (
    execute_bit,
    access_list,
    process_groups,
    private_tmp,
    mount_view,
    chroot,
    network_view,
    names,
    nginx_path,
    nginx_syntax,
    path_too_long,
    missing_socket,
    not_a_socket,
    wrong_type,
    unit_state,
    stale_socket,
    open_files,
    process_limit,
    full_backlog,
    socket_mode,
    socket_group,
    no_listener,
    foreign_listener,
    mac_denial,
    proxy_header,
    tls,
    silence,
    second_listener,
)
"""In the order in which findings of one confidence are listed: what hides the others first."""

RULES: tuple[Rule, ...] = tuple(module.check for module in MODULES)
CODES: tuple[str, ...] = tuple(code for module in MODULES for code in module.CODES)
"""The catalogue of codes."""
