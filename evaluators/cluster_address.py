"""The address of a cluster, and whether something answers there."""

import socket

from primitives.errors import UserError

#: Seconds a cluster has to answer.
CONNECT_TIMEOUT = 10.0


class ClusterUnreachable(Exception):
    """No Ray cluster answered; the message says where it was looked for and what to do."""


def require_answer(address: str) -> None:
    """Raise ClusterUnreachable unless something listens at ``host:port``; Ray itself would wait for minutes.

    Raises UserError where the address is no address.
    """
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise UserError(f"Expected a Ray address like 10.0.0.5:6379, or auto, got {address!r}.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT).close()
    except OSError as error:
        raise ClusterUnreachable(
            f"No Ray cluster answered at {address!r}: {error}. "
            "Check the address with 'ray status', or leave out --ray-address to use this machine."
        ) from None
