"""A command handler, with psycopg 3: read, decide, append; and anew where somebody was faster.

python3 withdraw.py ACCOUNT AMOUNT      PGHOST, PGDATABASE etc. say where the store is
"""

import sys

import psycopg
from psycopg.types.json import Jsonb


def withdraw(connection, account, amount):
    stream = f"account-{account}"
    while True:
        version, balance = 0, 0
        for version, kind, data in connection.execute("SELECT version, type, data FROM es_read(%s)", [stream]):
            balance += data["amount"] if kind == "Deposited" else -data["amount"]
        if balance < amount:
            return f"refused: there are {balance}"
        try:
            event = [stream, version, "Withdrawn", Jsonb({"amount": amount})]
            version, = connection.execute("SELECT es_append(%s, %s, %s, %s)", event).fetchone()
            return f"done: version {version}"
        except psycopg.Error as error:
            if error.sqlstate != "SE001":  # wrong_expected_version: the decision is out of date
                raise


if __name__ == "__main__":
    with psycopg.connect(autocommit=True) as connection:
        print(withdraw(connection, sys.argv[1], int(sys.argv[2])))
