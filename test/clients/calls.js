// The verbs as Node.js drivers call them: each argument as what a programmer has in his hands. Prints what each call returned.
//
// calls.js pg|postgres
const ID = '0193c000-0000-7000-8000-000000000003'
const LATER = new Date(Date.now() + 86400000)
const json = value => ({ value }) // JSON, however the driver wants it

const QUERY = json([{ tags: ['x'] }])
const CALLS = [
  ['events', 'es_append($1, $2, $3)', 'a-1', 0, json([{ type: 'A' }, { type: 'B' }])],
  ['an event', 'es_append($1, $2, $3, $4, $5, $6)', 'a-1', 2, 'C', json({ n: 1 }), json({ by: 'me' }), ID],
  ['its retry', 'es_append($1, $2, $3, $4, $5, $6::uuid)', 'a-1', '2', 'C', json({ n: 1 }), json({ by: 'me' }), ID],
  ['tags', 'es_append($1, $2, $3, $4, $5, $6, $7)', 'a-1', 3n, 'D', json({ n: 1 }), null, null, ['x']],
  ['streams', 'version FROM es_append_streams($1)', json([{ stream: 'b-1', expected_version: 0, events: { type: 'A' } }])],
  ['condition', 'es_append_if($1, $2, $3, $4)', 'c-1', json({ type: 'A' }), QUERY, 2 ** 40],
  ['stream', 'count(*) FROM es_read($1, $2, $3, $4)', 'a-1', 1, 10, false],
  ['all', 'count(*) FROM es_read_all($1, $2, $3)', 0, 100, ['A', 'B']],
  ['query', 'count(*) FROM es_read_query($1, $2, $3)', QUERY, 0, 10],
  ['as of', 'count(*) FROM es_stream_as_of($1, $2)', 'a-1', LATER],
  ['position', 'es_position_at($1) = es_head()', LATER],
  ['wait', 'es_wait($1, $2, $3) > 0', 0, '1 s', 'a'],
  ['snapshot', 'es_save_snapshot($1, $2, $3, $4)::text', 'a-1', 3, json({ n: 3 }), 2],
  ['load', 'version FROM es_load_json($1, $2)', 'a-1', 2],
  ['fold', 'es_fold($1, $2, $3)::text', 'a-1', 'counted', json(0)],
  ['subscription', 'es_create_subscription($1, $2, $3, $4, $5, $6, $7)::text', 's', 'a', ['A', 'B'], 0, 8, 3, '1 min'],
  ['fetch', 'count(*) FROM es_fetch($1, $2, $3, $4)', 's', 'me', 100, '1 s'],
  ['nack', 'es_nack($1, token, position, $2, $3, $4)::text FROM es_fetch($1, $5) LIMIT 1', 's', 'why', 'park', '1 s', 'me'],
  ['replay', 'es_replay_parked($1, $2::bigint)', 's', 5],
  ['ack', 'es_ack($1, max(token), max(position))::text FROM es_fetch($1, $2)', 's', 'me'],
  ['protect', 'es_reveal(es_protect($1, $2))::text', 'ada', json('secret')],
  ['projection', 'es_create_state_projection($1, $2, $3)::text', 'counts', 'counted', json(0)],
  ['projection at a time', 'es_projection_as_of($1, $2, $3, $4)', 'counts', 'counts_then', null, LATER],
  ['redact', 'es_redact($1::uuid, $2, $3)::text', ID, 'a test', ['n']],
  ['retention', 'es_set_retention($1, $2, $3)::text', 'a', '1 year', 1000],
  ['grant', 'es_grant($1, $2)::text', 'reporting', 'read'],
  ['conflict', 'es_append($1, $2, $3, $4)', 'a-1', 1, 'E', json({})]
]

// How to run a query, how JSON is given, and how to end.
async function connect (driver) {
  if (driver === 'pg') {
    const { default: pg } = await import('pg')
    const client = new pg.Client()
    await client.connect()
    // An object would do as it is, but an array would become one of PostgreSQL's.
    return [async (query, values) => (await client.query(query, values)).rows[0], JSON.stringify, () => client.end()]
  }
  const { default: postgres } = await import('postgres')
  const sql = postgres({ onnotice: () => {} })
  return [async (query, values) => (await sql.unsafe(query, values))[0], sql.json, () => sql.end()]
}

const [run, toJson, end] = await connect(process.argv[2])
for (const [name, call, ...values] of CALLS) {
  let answer
  try {
    const row = await run(`SELECT ${call}`, values.map(v => v?.value === undefined ? v : toJson(v.value)))
    answer = Object.values(row)[0]
    if (answer === null || answer === '') answer = 'done'
  } catch (error) {
    answer = `${error.code} ${error.detail ?? error.message}`
  }
  console.log(`${name}: ${answer}`)
}
await end()
