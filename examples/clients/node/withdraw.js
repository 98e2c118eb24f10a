// A command handler, with node-postgres: read, decide, append; and anew where somebody was faster.
//
// node withdraw.js ACCOUNT AMOUNT      PGHOST, PGDATABASE etc. say where the store is
import pg from 'pg'

async function withdraw (client, account, amount) {
  const stream = `account-${account}`
  for (;;) {
    const { rows: events } = await client.query('SELECT version, type, data FROM es_read($1)', [stream])
    const balance = events.reduce((sum, { type, data }) => sum + (type === 'Deposited' ? data.amount : -data.amount), 0)
    if (balance < amount) return `refused: there are ${balance}`
    try {
      const event = [stream, events.at(-1).version, 'Withdrawn', { amount }] // a version is a string, and goes back as one
      const { rows } = await client.query('SELECT es_append($1, $2, $3, $4) AS version', event)
      return `done: version ${rows[0].version}`
    } catch (error) {
      if (error.code !== 'SE001') throw error // wrong_expected_version: the decision is out of date
    }
  }
}

const client = new pg.Client()
await client.connect()
console.log(await withdraw(client, process.argv[2], Number(process.argv[3])))
await client.end()
