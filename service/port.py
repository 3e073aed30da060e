"""Whether the port that is set can be listened on."""

import socket


def taken(host: str, port: int) -> str | None:
    """Return why nobody could listen there just now; None where somebody could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        # Python adds the address, which whoever asks says too.
        return str(error.strerror).partition(" (while ")[0]
    return None
