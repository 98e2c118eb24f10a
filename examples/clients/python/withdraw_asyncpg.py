"""The same command handler with asyncpg.

asyncpg asks the server for the types of parameters: what is not cast is text. It takes and returns JSON as strings, unless it is
told how to encode it, as here.

python3 withdraw_asyncpg.py ACCOUNT AMOUNT      PGHOST, PGDATABASE etc. say where the store is
"""

import asyncio
import json
import sys

import asyncpg


async def withdraw(connection, account, amount):
    stream = f"account-{account}"
    while True:
        version, balance = 0, 0
        for version, kind, data in await connection.fetch("SELECT version, type, data FROM es_read($1)", stream):
            balance += data["amount"] if kind == "Deposited" else -data["amount"]
        if balance < amount:
            return f"refused: there are {balance}"
        try:
            append = "SELECT es_append($1, $2, $3, $4::jsonb)"
            version = await connection.fetchval(append, stream, version, "Withdrawn", {"amount": amount})
            return f"done: version {version}"
        except asyncpg.PostgresError as error:
            if error.sqlstate != "SE001":  # wrong_expected_version: the decision is out of date
                raise


async def main():
    connection = await asyncpg.connect()
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    print(await withdraw(connection, sys.argv[1], int(sys.argv[2])))
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
