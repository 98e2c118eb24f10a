"""The user service: decides what becomes of each command, by the rules of user management.

    python3 user_service.py REPLICA

Any number of replicas share the commands; those for one user or role are worked on in order, by one replica at a time. The event,
the read tables, the answer and the ack are one transaction.
"""

import re
import sys

from psycopg2 import IntegrityError
from psycopg2.extras import Json

from consumer import consume

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,39}")
EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")

# What it means when a read table refuses a change. Two replicas that want the same name at the same time meet here: the second one
# waits for the first, and is refused if that one commits.
BROKEN = {
    "users_pkey": "the user exists",
    "users_name_key": "the name is taken",
    "users_email_key": "the e-mail address is taken",
    "user_roles_pkey": "the user has this role",
    "user_roles_role_fkey": "users have this role",
    "roles_pkey": "the role exists",
}


class Refused(Exception):
    """The command breaks a rule. Its sender is told; nothing else happens."""


def check(data, **rules):
    for field, rule in rules.items():
        if not isinstance(data.get(field), str) or not rule.fullmatch(data[field]):
            raise Refused(f"not a valid {field}")


def find(cursor, table, key, value, lock="FOR NO KEY UPDATE"):
    """The row of a user or a role, locked to the end of the transaction."""
    cursor.execute(f"SELECT * FROM {table} WHERE {key} = %s {lock}", (value,))
    row = cursor.fetchone()
    if row is None:
        raise Refused(f"there is no {table[:-1]} {value}")
    return row


def emit(cursor, command, stream, expected_version, event_type, data):
    """Append the event that follows from a command. Returns the version that the stream has now.

    expected_version is what the read table says; were the stream elsewhere, the store would raise SE001.
    """
    cursor.execute(
        "SELECT es_append(%s, %s, %s, %s, %s) AS version",
        (stream, expected_version, event_type, Json(data),
         Json({"causation_id": command.id, "correlation_id": command.metadata["correlation_id"]})))
    return cursor.fetchone().version


def emit_for_user(cursor, command, user, event_type, data):
    version = emit(cursor, command, f"user-{user.id}", user.version, event_type, data)
    cursor.execute("UPDATE users SET version = %s WHERE id = %s", (version, user.id))


def create_user(cursor, command, user_id, data):
    check(data, name=NAME, email=EMAIL)
    # A deleted user may be created again and goes on in the same stream: any version, instead of none.
    version = emit(cursor, command, f"user-{user_id}", -1, "UserCreatedEvent", {"name": data["name"], "email": data["email"]})
    cursor.execute(
        "INSERT INTO users (id, name, email, version) VALUES (%s, %s, %s, %s)",
        (user_id, data["name"], data["email"], version))


def update_user(cursor, command, user_id, data):
    user = find(cursor, "users", "id", user_id)
    new = {"name": user.name, "email": user.email, **data}
    check(new, name=NAME, email=EMAIL)
    cursor.execute("UPDATE users SET name = %s, email = %s WHERE id = %s", (new["name"], new["email"], user_id))
    emit_for_user(cursor, command, user, "UserUpdatedEvent", new)


def delete_user(cursor, command, user_id, data):
    user = find(cursor, "users", "id", user_id)
    emit_for_user(cursor, command, user, "UserDeletedEvent", {"name": user.name})
    cursor.execute("DELETE FROM users WHERE id = %s", (user_id,))


def log_in(cursor, command, user_id, data):
    user = find(cursor, "users", "id", user_id)
    emit_for_user(cursor, command, user, "UserLoggedInEvent", {"name": user.name})
    cursor.execute("UPDATE users SET logins = logins + 1 WHERE id = %s", (user_id,))


def assign_role(cursor, command, user_id, data):
    user = find(cursor, "users", "id", user_id)
    role = find(cursor, "roles", "name", data.get("role"), lock="FOR KEY SHARE")  # it stays; others may be given it as well
    cursor.execute("INSERT INTO user_roles VALUES (%s, %s)", (user_id, role.name))
    emit_for_user(cursor, command, user, "RoleAssignedToUserEvent", {"name": user.name, "role": role.name})


def unassign_role(cursor, command, user_id, data):
    user = find(cursor, "users", "id", user_id)
    cursor.execute("DELETE FROM user_roles WHERE user_id = %s AND role = %s", (user_id, data.get("role")))
    if cursor.rowcount == 0:
        raise Refused("the user does not have this role")
    emit_for_user(cursor, command, user, "RoleUnassignedFromUserEvent", {"name": user.name, "role": data["role"]})


def create_role(cursor, command, name, data):
    check({"name": name}, name=NAME)
    permissions = data.get("permissions", [])
    version = emit(cursor, command, f"role-{name}", -1, "RoleCreatedEvent", {"role": name, "permissions": permissions})
    cursor.execute("INSERT INTO roles VALUES (%s, %s, %s)", (name, Json(permissions), version))


def update_role(cursor, command, name, data):
    role = find(cursor, "roles", "name", name)
    permissions = data.get("permissions", [])
    version = emit(cursor, command, f"role-{name}", role.version, "RoleUpdatedEvent", {"role": name, "permissions": permissions})
    cursor.execute("UPDATE roles SET permissions = %s, version = %s WHERE name = %s", (Json(permissions), version, name))


def delete_role(cursor, command, name, data):
    role = find(cursor, "roles", "name", name)
    emit(cursor, command, f"role-{name}", role.version, "RoleDeletedEvent", {"role": name})
    cursor.execute("DELETE FROM roles WHERE name = %s", (name,))


COMMANDS = {
    "CreateUser": create_user, "UpdateUser": update_user, "DeleteUser": delete_user, "LogIn": log_in,
    "AssignRole": assign_role, "UnassignRole": unassign_role,
    "CreateRole": create_role, "UpdateRole": update_role, "DeleteRole": delete_role,
}


def decide(cursor, command):
    """Do what the command says, or nothing. Returns the answer to it."""
    cursor.execute("SAVEPOINT command")
    try:
        if command.type not in COMMANDS:
            raise Refused("there is no such command")
        _, _, key = command.stream.split("-", 2)  # command-user-<id> or command-role-<name>
        COMMANDS[command.type](cursor, command, key, command.data)
        return "done"
    except Refused as refused:
        answer = str(refused)
    except IntegrityError as error:
        answer = BROKEN[error.diag.constraint_name]
    cursor.execute("ROLLBACK TO SAVEPOINT command")
    return answer


def main(replica):
    def handle(cursor, command):
        answer = decide(cursor, command)
        cursor.execute("INSERT INTO replies (command, answer, replica) VALUES (%s, %s, %s)", (command.id, answer, replica))

    consume("user-service", replica, handle)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
