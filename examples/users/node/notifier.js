// Tells people what happens to users and roles.
//
//     node notifier.js e-mail|slack NAME
//
// Each channel is a subscription of its own, so each gets every event; the notifiers of one channel share its partitions. Here a
// message is a row of the table messages, in the transaction of the ack: it is sent exactly once. A mail server takes part in no
// transaction; for one, let a program send what stands in the table, and give the event's id as the Message-ID.

import { consume } from './consumer.js'

const TEXTS = {
  UserCreatedEvent: ({ name }) => `Welcome, ${name}`,
  UserUpdatedEvent: ({ name }) => `${name} has a new profile`,
  UserDeletedEvent: ({ name }) => `${name} has left`,
  UserLoggedInEvent: ({ name }) => `${name} has logged in`,
  RoleAssignedToUserEvent: ({ name, role }) => `${name} is ${role} now`,
  RoleUnassignedFromUserEvent: ({ name, role }) => `${name} is not ${role} any more`,
  RoleCreatedEvent: ({ role }) => `There is a role ${role} now`,
  RoleUpdatedEvent: ({ role }) => `The role ${role} has changed`,
  RoleDeletedEvent: ({ role }) => `The role ${role} is gone`
}

const [channel, name, ...rest] = process.argv.slice(2)
if (name === undefined || rest.length > 0) {
  console.error('usage: node notifier.js e-mail|slack NAME')
  process.exit(2)
}
await consume(channel, name, async (client, event) => {
  await client.query(
    'INSERT INTO messages (channel, event, stream, version, message, sender) VALUES ($1, $2, $3, $4, $5, $6)',
    [channel, event.id, event.stream, event.version, TEXTS[event.type](event.data), name])
})
