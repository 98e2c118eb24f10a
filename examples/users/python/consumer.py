"""A consumer of a subscription: what the user service and the notifiers have in common.

Fetch, effects and ack are one transaction: they stand together or not at all. Whatever kills this process, an event whose
transaction was not committed comes again, here or at another consumer of the group.
"""

import signal
import time

import psycopg2
from psycopg2.extras import NamedTupleCursor

# The transaction is void and is simply begun again: the lease is lost, a deadlock, a serialization failure.
BEGIN_AGAIN = {"SE005", "40P01", "40001"}


def consume(subscription, consumer, handle):
    """Call handle(cursor, event) for each event, until SIGTERM or SIGINT. PGHOST, PGDATABASE etc. say where the store is."""
    stopping = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.append(True))

    connection = None
    while not stopping:
        try:
            if connection is None or connection.closed:
                connection = psycopg2.connect("", cursor_factory=NamedTupleCursor)
            with connection, connection.cursor() as cursor:
                work_on_batch(cursor, subscription, consumer, handle)
        except psycopg2.Error as error:
            if connection is None or connection.closed:
                time.sleep(0.5)  # the server is away; it will be back
            elif error.pgcode not in BEGIN_AGAIN:
                raise

    # The others need not wait for the end of the lease.
    if connection is not None and not connection.closed:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT es_release(%s, %s)", (subscription, consumer))
        connection.close()


def work_on_batch(cursor, subscription, consumer, handle):
    """Fetch up to ten events, sleeping up to a second for the first; each is done, or left for a later try."""
    cursor.execute("SELECT * FROM es_fetch(%s, %s, max_count => 10, wait => '1 s')", (subscription, consumer))
    events = cursor.fetchall()
    postponed = set()
    for event in events:
        if event.stream in postponed:
            continue  # comes again, after the one that it has to wait for
        cursor.execute("SAVEPOINT event")
        try:
            handle(cursor, event)
            cursor.execute("RELEASE SAVEPOINT event")
        except Exception as error:
            if isinstance(error, psycopg2.Error) and (error.pgcode is None or error.pgcode in BEGIN_AGAIN):
                raise
            # Something is wrong with this event: only its stream waits. After some tries it is in eventstore.parked.
            cursor.execute("ROLLBACK TO SAVEPOINT event")
            cursor.execute(
                "SELECT es_nack(%s, %s, %s, %s, delay => '1 s')",
                (subscription, event.token, event.position, f"{type(error).__name__}: {error}"))
            postponed.add(event.stream)
    if events:
        cursor.execute("SELECT es_ack(%s, %s, %s)", (subscription, events[-1].token, events[-1].position))
