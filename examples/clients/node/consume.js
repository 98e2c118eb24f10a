// A consumer, with node-postgres: fetch, work and ack in one transaction, so that each event counts once.
//
// node consume.js CONSUMER      until SIGTERM; PGHOST, PGDATABASE etc. say where the store is
import pg from 'pg'

// The transaction is void and is begun again: the lease is lost, a deadlock, a serialization failure.
const BEGIN_AGAIN = ['SE005', '40P01', '40001']

async function enter (client, { position, stream, type, data }) {
  const amount = type === 'Deposited' ? data.amount : -data.amount
  await client.query('INSERT INTO ledger VALUES ($1, $2, $3)', [position, stream, amount])
}

async function consume (client, subscription, consumer, stopping) {
  const fetch = "SELECT * FROM es_fetch($1, $2, max_count => 100, wait => '1 s')"
  while (!stopping.aborted) {
    try {
      await client.query('BEGIN')
      const { rows: events } = await client.query(fetch, [subscription, consumer])
      for (const event of events) await enter(client, event)
      const last = events.at(-1)
      if (last) await client.query('SELECT es_ack($1, $2, $3)', [subscription, last.token, last.position])
      await client.query('COMMIT')
    } catch (error) {
      await client.query('ROLLBACK')
      if (!BEGIN_AGAIN.includes(error.code)) throw error
    }
  }
  await client.query('SELECT es_release($1, $2)', [subscription, consumer])
}

const stop = new AbortController()
process.on('SIGTERM', () => stop.abort())
const client = new pg.Client()
await client.connect()
await consume(client, 'ledger', process.argv[2], stop.signal)
await client.end()
