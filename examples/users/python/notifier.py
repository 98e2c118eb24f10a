"""Tells people what happens to users and roles.

    python3 notifier.py e-mail|slack NAME

Each channel is a subscription of its own, so each gets every event; the notifiers of one channel share its partitions. Here a message
is a row of the table messages, in the transaction of the ack: it is sent exactly once. A mail server takes part in no transaction;
for one, let a program send what stands in the table, and give the event's id as the Message-ID.
"""

import sys

from consumer import consume

TEXTS = {
    "UserCreatedEvent": "Welcome, {name}",
    "UserUpdatedEvent": "{name} has a new profile",
    "UserDeletedEvent": "{name} has left",
    "UserLoggedInEvent": "{name} has logged in",
    "RoleAssignedToUserEvent": "{name} is {role} now",
    "RoleUnassignedFromUserEvent": "{name} is not {role} any more",
    "RoleCreatedEvent": "There is a role {role} now",
    "RoleUpdatedEvent": "The role {role} has changed",
    "RoleDeletedEvent": "The role {role} is gone",
}


def main(channel, name):
    def handle(cursor, event):
        cursor.execute(
            "INSERT INTO messages (channel, event, stream, version, message, sender) VALUES (%s, %s, %s, %s, %s, %s)",
            (channel, event.id, event.stream, event.version, TEXTS[event.type].format(**event.data), name))

    consume(channel, name, handle)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
