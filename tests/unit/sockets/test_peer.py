"""Peer credentials, from real sockets."""

import os
import socket

from cloister.sockets.peer import Peer, peer, peer_groups


def test_the_peer_of_a_pair_is_this_process() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer(one) == Peer(os.getpid(), os.geteuid(), os.getegid())
        assert set(peer_groups(one)) == set(os.getgroups())
