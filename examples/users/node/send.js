// Sends commands to the user service, and prints what became of them.
//
//     node send.js < commands.ndjson
//
// A line is a command: {"command": "CreateUser", "user": "42", "data": {"name": "ada", "email": "ada@example.com"}}, or, with "role"
// in the place of "user", one for a role.

import { randomUUID } from 'node:crypto'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

const client = new pg.Client()
await client.connect()

const sent = new Map()
for await (const line of createInterface({ input: process.stdin })) {
  const { command, user, role, data = {} } = JSON.parse(line)
  const stream = user !== undefined ? `command-user-${user}` : `command-role-${role}`
  // The id is made here, so that a sender who lost the connection can repeat the call: the store takes the same command once.
  const id = randomUUID()
  await client.query(
    'SELECT es_append($1, es_any(), $2, $3::jsonb, $4::jsonb, $5::uuid)', [stream, command, data, { correlation_id: id }, id])
  sent.set(id, `${command} ${user ?? role}`)
}

while (sent.size > 0) {
  const { rows } = await client.query(
    'SELECT command, answer FROM replies WHERE command = ANY ($1::uuid[]) ORDER BY id', [[...sent.keys()]])
  for (const { command, answer } of rows) {
    console.log(`${sent.get(command)}: ${answer}`)
    sent.delete(command)
  }
  await sleep(100)
}
await client.end()
