// The same command handler with Postgres.js.
//
// It asks the server for the types of parameters, and what is not cast is text: so JSON is said to be JSON, by sql.json.
//
// node withdraw-postgres.js ACCOUNT AMOUNT      PGHOST, PGDATABASE etc. say where the store is
import postgres from 'postgres'

async function withdraw (sql, account, amount) {
  const stream = `account-${account}`
  for (;;) {
    const events = await sql`SELECT version, type, data FROM es_read(${stream})`
    const balance = events.reduce((sum, { type, data }) => sum + (type === 'Deposited' ? data.amount : -data.amount), 0)
    if (balance < amount) return `refused: there are ${balance}`
    try {
      const [{ version }] = await sql`
        SELECT es_append(${stream}, ${events.at(-1).version}, 'Withdrawn', ${sql.json({ amount })}) AS version`
      return `done: version ${version}`
    } catch (error) {
      if (error.code !== 'SE001') throw error // wrong_expected_version: the decision is out of date
    }
  }
}

const sql = postgres()
console.log(await withdraw(sql, process.argv[2], Number(process.argv[3])))
await sql.end()
