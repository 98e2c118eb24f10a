-- What the user service needs besides the store: its read tables, the answers to commands, what was sent to whom, and the three
-- subscriptions.
--
--     createdb users && psql -d users -f examples/users/schema.sql

\set ON_ERROR_STOP on
CREATE EXTENSION IF NOT EXISTS eventstore;
BEGIN;

-- Who there is now. The service decides by these tables and changes them in the transaction that appends the event, so they are
-- never behind the streams; their keys are what makes names and addresses unique.
CREATE TABLE users (
    id      text PRIMARY KEY,
    name    text NOT NULL UNIQUE,
    email   text NOT NULL,
    version bigint NOT NULL, -- of the stream user-<id>
    logins  bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX users_email_key ON users (lower(email));
CREATE TABLE roles (
    name        text PRIMARY KEY,
    permissions jsonb NOT NULL,
    version     bigint NOT NULL -- of the stream role-<name>
);
CREATE TABLE user_roles (
    user_id text REFERENCES users ON DELETE CASCADE,
    role    text REFERENCES roles,
    PRIMARY KEY (user_id, role)
);

-- What became of each command: 'done', or why it was refused. Nothing here keeps a command from being answered twice, or a message
-- from being sent twice: that is the subscription's part.
CREATE TABLE replies (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    command uuid NOT NULL,
    answer  text NOT NULL,
    replica text NOT NULL
);
CREATE INDEX ON replies (command);

-- What the notifiers have sent.
CREATE TABLE messages (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text NOT NULL,
    event   uuid NOT NULL,
    stream  text NOT NULL,
    version bigint NOT NULL,
    message text NOT NULL,
    sender  text NOT NULL
);

-- Commands are events as well, in the streams command-user-<id> and command-role-<name>. Ten partitions, which the replicas of the
-- service divide among themselves; a replica that dies is replaced after three seconds.
SELECT es_create_subscription('user-service', category => 'command', partitions => 10, lease => '3 s');

-- Both groups get every event of users and roles, each group once.
SELECT es_create_subscription(channel, partitions => 10, lease => '3 s', types => ARRAY[
    'UserCreatedEvent', 'UserUpdatedEvent', 'UserDeletedEvent', 'UserLoggedInEvent',
    'RoleAssignedToUserEvent', 'RoleUnassignedFromUserEvent',
    'RoleCreatedEvent', 'RoleUpdatedEvent', 'RoleDeletedEvent'])
FROM unnest(ARRAY['e-mail', 'slack']) channel;

COMMIT;
