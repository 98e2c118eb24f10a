"""The verbs as Python drivers call them: each argument as what a programmer has in his hands. Prints what each call returned.

calls.py psycopg|asyncpg
"""

import asyncio
import datetime
import json
import sys
import uuid

ID = uuid.UUID("0193c000-0000-7000-8000-000000000003")
LATER = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
SECOND = datetime.timedelta(seconds=1)


class Json(str):
    """JSON, however the driver wants it."""

    def __new__(cls, value):
        return super().__new__(cls, json.dumps(value))


QUERY = Json([{"tags": ["x"]}])
CALLS = [
    ("events", "es_append($1, $2, $3)", "a-1", 0, Json([{"type": "A"}, {"type": "B"}])),
    ("an event", "es_append($1, $2, $3, $4, $5, $6)", "a-1", 2, "C", Json({"n": 1}), Json({"by": "me"}), str(ID)),
    ("its retry", "es_append($1, $2, $3, $4, $5, $6::uuid)", "a-1", 2, "C", Json({"n": 1}), Json({"by": "me"}), ID),
    ("tags", "es_append($1, $2, $3, $4, $5, $6, $7)", "a-1", 3, "D", Json({"n": 1}), None, None, ["x"]),
    ("streams", "version FROM es_append_streams($1)", Json([{"stream": "b-1", "expected_version": 0, "events": {"type": "A"}}])),
    ("condition", "es_append_if($1, $2, $3, $4)", "c-1", Json({"type": "A"}), QUERY, 2**40),
    ("stream", "count(*) FROM es_read($1, $2, $3, $4)", "a-1", 1, 10, False),
    ("all", "count(*) FROM es_read_all($1, $2, $3)", 0, 100, ["A", "B"]),
    ("query", "count(*) FROM es_read_query($1, $2, $3)", QUERY, 0, 10),
    ("as of", "count(*) FROM es_stream_as_of($1, $2)", "a-1", LATER),
    ("position", "es_position_at($1) = es_head()", LATER),
    ("wait", "es_wait($1, $2, $3) > 0", 0, SECOND, "a"),
    ("snapshot", "es_save_snapshot($1, $2, $3, $4)::text", "a-1", 3, Json({"n": 3}), 2),
    ("load", "version FROM es_load_json($1, $2)", "a-1", 2),
    ("fold", "es_fold($1, $2, $3)::text", "a-1", "counted", Json(0)),
    ("subscription", "es_create_subscription($1, $2, $3, $4, $5, $6, $7)::text", "s", "a", ["A", "B"], 0, 8, 3, 60 * SECOND),
    ("fetch", "count(*) FROM es_fetch($1, $2, $3, $4)", "s", "me", 100, SECOND),
    ("nack", "es_nack($1, token, position, $2, $3, $4)::text FROM es_fetch($1, $5) LIMIT 1", "s", "why", "park", SECOND, "me"),
    ("replay", "es_replay_parked($1, $2::bigint)", "s", 5),
    ("ack", "es_ack($1, max(token), max(position))::text FROM es_fetch($1, $2)", "s", "me"),
    ("protect", "es_reveal(es_protect($1, $2))::text", "ada", Json("secret")),
    ("projection", "es_create_state_projection($1, $2, $3)::text", "counts", "counted", Json(0)),
    ("projection at a time", "es_projection_as_of($1, $2, $3, $4)", "counts", "counts_then", None, LATER),
    ("redact", "es_redact($1::uuid, $2, $3)::text", ID, "a test", ["n"]),
    ("retention", "es_set_retention($1, $2, $3)::text", "a", 365 * 24 * 3600 * SECOND, 1000),
    ("grant", "es_grant($1, $2)::text", "reporting", "read"),
    ("conflict", "es_append($1, $2, $3, $4)", "a-1", 1, "E", Json({})),
]


def tell(name, value):
    print(f"{name}: {str(value).lower() if isinstance(value, bool) else value or 'done'}")


def call_psycopg():
    import re
    import psycopg
    from psycopg.types.json import Jsonb

    with psycopg.connect(autocommit=True) as connection:
        for name, call, *arguments in CALLS:
            # By position: its placeholders have no numbers.
            numbers = [int(n) - 1 for n in re.findall(r"\$(\d+)", call)]
            values = [Jsonb(json.loads(a)) if isinstance(a, Json) else a for a in arguments]
            try:
                row = connection.execute("SELECT " + re.sub(r"\$\d+", "%s", call), [values[n] for n in numbers]).fetchone()
                tell(name, row[0])
            except psycopg.Error as error:
                tell(name, f"{error.sqlstate} {error.diag.message_detail or error}")


async def call_asyncpg():
    import asyncpg

    connection = await asyncpg.connect()
    for name, call, *arguments in CALLS:
        try:
            tell(name, await connection.fetchval("SELECT " + call, *arguments))
        except asyncpg.PostgresError as error:
            tell(name, f"{error.sqlstate} {error.detail or error}")
    await connection.close()


if sys.argv[1] == "psycopg":
    call_psycopg()
else:
    asyncio.run(call_asyncpg())
