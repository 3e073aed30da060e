"""Whether the web service or a trainer on this machine is well: what a container's health check asks."""

import socket
import time
from pathlib import Path

from sqlalchemy import URL, func, select
from sqlalchemy.exc import DBAPIError

from service.database import SQLITE, Database
from service.schema import TRAINERS

# A trainer shows life once a second; on a busy machine later.
PATIENCE_SECONDS = 3.0


def trainer_beats(url: URL) -> bool:
    """Tell whether a trainer of this machine shows life in the database; none is made for it."""
    if url.get_backend_name() == SQLITE and not Path(str(url.database)).exists():
        return False
    try:
        return _beats(Database(url))
    except DBAPIError:
        return False


def _beats(database: Database) -> bool:
    # As `Trainer.name` begins; underscores and percent signs in it must not match anything else.
    mine = TRAINERS.c.name.startswith(f"{socket.gethostname()}/", autoescape=True)
    query = select(func.coalesce(func.sum(TRAINERS.c.heartbeat), 0)).where(mine)

    def beats() -> int:
        with database.reading() as connection:
            return int(connection.scalar(query) or 0)

    first, deadline = beats(), time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.2)
        if beats() > first:
            return True
    return False
