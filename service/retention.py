"""What is kept, and for how long."""

from service.database import Database
from service.settings import Settings


class Retention:
    """Stand-in until the rules are here."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database, self.settings = database, settings

    def tidy(self) -> None:
        """Do nothing yet."""

    def check_room(self) -> None:
        """Do nothing yet."""
