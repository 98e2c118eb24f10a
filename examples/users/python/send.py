"""Sends commands to the user service, and prints what became of them.

    python3 send.py < commands.ndjson

A line is a command: {"command": "CreateUser", "user": "42", "data": {"name": "ada", "email": "ada@example.com"}}, or, with "role" in
the place of "user", one for a role.
"""

import json
import sys
import time
import uuid

import psycopg2
from psycopg2.extras import Json


def main():
    connection = psycopg2.connect("")
    connection.autocommit = True
    cursor = connection.cursor()
    sent = {}
    for line in sys.stdin:
        command = json.loads(line)
        kind = "user" if "user" in command else "role"
        # The id is made here, so that a sender who lost the connection can repeat the call: the store takes the same command once.
        command_id = str(uuid.uuid4())
        cursor.execute(
            "SELECT es_append(%s, es_any(), %s, %s, %s, %s)",
            (f"command-{kind}-{command[kind]}", command["command"], Json(command.get("data", {})),
             Json({"correlation_id": command_id}), command_id))
        sent[command_id] = f"{command['command']} {command[kind]}"

    while sent:
        cursor.execute("SELECT command, answer FROM replies WHERE command = ANY (%s::uuid[]) ORDER BY id", (list(sent),))
        for command_id, answer in cursor.fetchall():
            print(f"{sent.pop(command_id)}: {answer}", flush=True)
        time.sleep(0.1)


if __name__ == "__main__":
    main()
