"""Jobs that one node at a time shall do. A lease says whose turn it is; it runs out if its holder dies."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, or_, update

from store.engine import Database, insert_new
from store.schema import SingleFlight


class Flights:
    """Who does what alone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take_flight(self, name: str, owner: str, lease_s: float) -> bool:
        """Take a job, or keep it for another `lease_s`. False: it is another's now.

        This saves work and keeps things in order. It cannot make two doers impossible (a holder may sleep through its
        lease), so what is done under it MUST be harmless when done twice.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            held = {"owner": owner, "until": now + timedelta(seconds=lease_s)}
            if connection.execute(insert_new(connection, SingleFlight).values(name=name, **held)).rowcount == 1:
                return True
            mine = or_(SingleFlight.owner == owner, SingleFlight.until <= now)
            taken = update(SingleFlight).where(SingleFlight.name == name, mine).values(held)
            return connection.execute(taken).rowcount == 1

    def end_flight(self, name: str, owner: str) -> None:
        """Give the job up at once: a node that shuts down."""
        with self._database.write() as connection:
            mine = (SingleFlight.name == name, SingleFlight.owner == owner)
            connection.execute(delete(SingleFlight).where(*mine))
