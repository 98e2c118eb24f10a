"""A consumer, with psycopg 3: fetch, work and ack in one transaction, so that each event counts once.

python3 consume.py CONSUMER      until SIGTERM; PGHOST, PGDATABASE etc. say where the store is
"""

import signal
import sys

import psycopg
from psycopg.rows import namedtuple_row

# The transaction is void and is begun again: the lease is lost, a deadlock, a serialization failure.
BEGIN_AGAIN = {"SE005", "40P01", "40001"}


def enter(connection, event):
    amount = event.data["amount"] if event.type == "Deposited" else -event.data["amount"]
    connection.execute("INSERT INTO ledger VALUES (%s, %s, %s)", [event.position, event.stream, amount])


def consume(connection, subscription, consumer, stopping):
    fetch = "SELECT * FROM es_fetch(%s, %s, max_count => 100, wait => '1 s')"
    while not stopping:
        try:
            with connection.transaction():
                events = connection.execute(fetch, [subscription, consumer]).fetchall()
                for event in events:
                    enter(connection, event)
                if events:
                    connection.execute("SELECT es_ack(%s, %s, %s)", [subscription, event.token, event.position])
        except psycopg.Error as error:
            if error.sqlstate not in BEGIN_AGAIN:
                raise
    connection.execute("SELECT es_release(%s, %s)", [subscription, consumer])


if __name__ == "__main__":
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    with psycopg.connect(autocommit=True, row_factory=namedtuple_row) as connection:
        consume(connection, "ledger", sys.argv[1], stopping)
