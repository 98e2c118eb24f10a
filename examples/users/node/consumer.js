// A consumer of a subscription: what the user service and the notifiers have in common.
//
// Fetch, effects and ack are one transaction: they stand together or not at all. Whatever kills this process, an event whose
// transaction was not committed comes again, here or at another consumer of the group.

import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

// The transaction is void and is simply begun again: the lease is lost, a deadlock, a serialization failure.
const BEGIN_AGAIN = new Set(['SE005', '40P01', '40001'])

// Calls handle(client, event) for each event, until SIGTERM or SIGINT. PGHOST, PGDATABASE etc. say where the store is.
export async function consume (subscription, consumer, handle) {
  let stopping = false
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => { stopping = true })

  let client = null
  while (!stopping) {
    try {
      client ??= await connect()
      await client.query('BEGIN')
      await workOnBatch(client, subscription, consumer, handle)
      await client.query('COMMIT')
    } catch (error) {
      if (client === null || client.isLost || isConnectionError(error)) {
        await client?.end().catch(() => {})
        client = null
        await sleep(500) // the server is away; it will be back
      } else {
        await client.query('ROLLBACK')
        if (!BEGIN_AGAIN.has(error.code)) throw error
      }
    }
  }

  // The others need not wait for the end of the lease.
  await client?.query('SELECT es_release($1, $2)', [subscription, consumer])
  await client?.end()
}

async function connect () {
  const client = new pg.Client()
  client.on('error', () => { client.isLost = true })
  await client.connect()
  return client
}

// Not an answer of the server, or its last word: it is shutting down or starting.
function isConnectionError (error) {
  return !(error instanceof pg.DatabaseError) || /^(08|57P)/.test(error.code)
}

// Fetches up to ten events, sleeping up to a second for the first; each is done, or left for a later try.
async function workOnBatch (client, subscription, consumer, handle) {
  const { rows: events } = await client.query(
    "SELECT * FROM es_fetch($1, $2, max_count => 10, wait => '1 s')", [subscription, consumer])
  const postponed = new Set()
  for (const event of events) {
    if (postponed.has(event.stream)) continue // comes again, after the one that it has to wait for
    await client.query('SAVEPOINT event')
    try {
      await handle(client, event)
      await client.query('RELEASE SAVEPOINT event')
    } catch (error) {
      if (BEGIN_AGAIN.has(error.code) || client.isLost) throw error
      // Something is wrong with this event: only its stream waits. After some tries it is in eventstore.parked.
      await client.query('ROLLBACK TO SAVEPOINT event')
      await client.query(
        "SELECT es_nack($1, $2, $3, $4, delay => '1 s')", [subscription, event.token, event.position, String(error)])
      postponed.add(event.stream)
    }
  }
  if (events.length > 0) {
    const last = events.at(-1)
    await client.query('SELECT es_ack($1, $2, $3)', [subscription, last.token, last.position])
  }
}
