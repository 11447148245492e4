"""The address of a Ray cluster, and a quick check that one answers there.

Invariant: the check takes seconds. Ray itself would try for a quarter of an hour, and could not be interrupted. This
file does not import Ray.
"""

import json
import os
import socket

from lossearch.primitives.errors import Argument, LossearchError, UserError

#: Seconds that a cluster has to answer.
CONNECT_TIMEOUT = 10.0

#: Start of an HTTP/2 connection (RFC 9113, 3.4) with empty settings. Ray speaks gRPC, which answers with its own.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_FRAME_HEADER, _TYPE, _SETTINGS = 9, 3, 4


class ClusterUnreachable(LossearchError):
    """No Ray cluster or no worker answered. The message says where, and what to do."""


def job_address() -> str | None:
    """Return the address to use inside a Ray job, or None elsewhere."""
    try:
        job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "null"))
        return "auto" if job["metadata"]["job_submission_id"] else None
    except (ValueError, KeyError, TypeError):
        return None


def require_address(address: str) -> tuple[str, int] | None:
    """Return host and port of an address; None for ``auto``. Raises UserError if the address is malformed."""
    if address == "auto":
        return None
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port[:9]) < 65_536:
        raise UserError(f"Expected a Ray address like 10.0.0.5:6379, or auto, got {address!r}.")
    return host.strip("[]"), int(port)


def require_answer(address: str) -> None:
    """Raise ClusterUnreachable unless a Ray cluster seems to answer at ``host:port``.

    Raises UserError if the address is malformed. The address ``auto`` is not checked.
    """
    place = require_address(address)
    if place is None:
        return
    try:
        with socket.create_connection(place, CONNECT_TIMEOUT) as connection:
            problem = None if _speaks_grpc(connection) else "something other than Ray answers there"
    except TimeoutError:
        problem = f"no answer within {CONNECT_TIMEOUT:.0f} s"
    except OSError as error:
        problem = str(error)
    if problem is not None:
        raise ClusterUnreachable(
            f"No Ray cluster answered at {address!r}: {problem}. Check the address with 'ray status' (the port is the "
            "head's, 6379 by default, and not the dashboard's), or leave out ",
            Argument("ray_address"),
            " to use this machine.",
        )


def _speaks_grpc(connection: socket.socket) -> bool:
    """Return True if the other side answers with settings of HTTP/2. Raises OSError."""
    connection.sendall(_PREFACE)
    answer = b""
    while len(answer) < _FRAME_HEADER and (more := connection.recv(64)):
        answer += more
    return len(answer) >= _FRAME_HEADER and answer[_TYPE] == _SETTINGS
