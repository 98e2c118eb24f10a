// The user service: decides what becomes of each command, by the rules of user management.
//
//     node user-service.js REPLICA
//
// Any number of replicas share the commands; those for one user or role are worked on in order, by one replica at a time. The event,
// the read tables, the answer and the ack are one transaction.

import { consume } from './consumer.js'

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{1,39}$/
const EMAIL = /^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$/

// What it means when a read table refuses a change. Two replicas that want the same name at the same time meet here: the second one
// waits for the first, and is refused if that one commits.
const BROKEN = {
  users_pkey: 'the user exists',
  users_name_key: 'the name is taken',
  users_email_key: 'the e-mail address is taken',
  user_roles_pkey: 'the user has this role',
  user_roles_role_fkey: 'users have this role',
  roles_pkey: 'the role exists'
}

// The command breaks a rule. Its sender is told; nothing else happens.
class Refused extends Error {}

function check (field, value, rule) {
  if (typeof value !== 'string' || !rule.test(value)) throw new Refused(`not a valid ${field}`)
}

// The row of a user or a role, locked to the end of the transaction.
async function find (client, table, key, value, lock = 'FOR NO KEY UPDATE') {
  const { rows: [row] } = await client.query(`SELECT * FROM ${table} WHERE ${key} = $1 ${lock}`, [value])
  if (!row) throw new Refused(`there is no ${table.slice(0, -1)} ${value}`)
  return row
}

// Appends the event that follows from a command; answers with the version that the stream has now. The expected version is what
// the read table says; were the stream elsewhere, the store would raise SE001.
async function emit (client, command, stream, expectedVersion, type, data) {
  const metadata = { causation_id: command.id, correlation_id: command.metadata.correlation_id }
  const { rows: [{ version }] } = await client.query(
    'SELECT es_append($1, $2, $3, $4::jsonb, $5::jsonb) AS version', [stream, expectedVersion, type, data, metadata])
  return version
}

async function emitForUser (client, command, user, type, data) {
  const version = await emit(client, command, `user-${user.id}`, user.version, type, data)
  await client.query('UPDATE users SET version = $1 WHERE id = $2', [version, user.id])
}

const COMMANDS = {
  async CreateUser (client, command, id, { name, email }) {
    check('name', name, NAME)
    check('email', email, EMAIL)
    // A deleted user may be created again and goes on in the same stream: any version, instead of none.
    const version = await emit(client, command, `user-${id}`, -1, 'UserCreatedEvent', { name, email })
    await client.query('INSERT INTO users (id, name, email, version) VALUES ($1, $2, $3, $4)', [id, name, email, version])
  },

  async UpdateUser (client, command, id, data) {
    const user = await find(client, 'users', 'id', id)
    const { name, email } = { name: user.name, email: user.email, ...data }
    check('name', name, NAME)
    check('email', email, EMAIL)
    await client.query('UPDATE users SET name = $1, email = $2 WHERE id = $3', [name, email, id])
    await emitForUser(client, command, user, 'UserUpdatedEvent', { name, email })
  },

  async DeleteUser (client, command, id) {
    const user = await find(client, 'users', 'id', id)
    await emitForUser(client, command, user, 'UserDeletedEvent', { name: user.name })
    await client.query('DELETE FROM users WHERE id = $1', [id])
  },

  async LogIn (client, command, id) {
    const user = await find(client, 'users', 'id', id)
    await emitForUser(client, command, user, 'UserLoggedInEvent', { name: user.name })
    await client.query('UPDATE users SET logins = logins + 1 WHERE id = $1', [id])
  },

  async AssignRole (client, command, id, data) {
    const user = await find(client, 'users', 'id', id)
    const role = await find(client, 'roles', 'name', data.role, 'FOR KEY SHARE') // it stays; others may be given it as well
    await client.query('INSERT INTO user_roles VALUES ($1, $2)', [id, role.name])
    await emitForUser(client, command, user, 'RoleAssignedToUserEvent', { name: user.name, role: role.name })
  },

  async UnassignRole (client, command, id, { role }) {
    const user = await find(client, 'users', 'id', id)
    const { rowCount } = await client.query('DELETE FROM user_roles WHERE user_id = $1 AND role = $2', [id, role])
    if (rowCount === 0) throw new Refused('the user does not have this role')
    await emitForUser(client, command, user, 'RoleUnassignedFromUserEvent', { name: user.name, role })
  },

  async CreateRole (client, command, role, { permissions = [] }) {
    check('name', role, NAME)
    const version = await emit(client, command, `role-${role}`, -1, 'RoleCreatedEvent', { role, permissions })
    await client.query('INSERT INTO roles VALUES ($1, $2, $3)', [role, JSON.stringify(permissions), version])
  },

  async UpdateRole (client, command, name, { permissions = [] }) {
    const role = await find(client, 'roles', 'name', name)
    const version = await emit(client, command, `role-${name}`, role.version, 'RoleUpdatedEvent', { role: name, permissions })
    await client.query('UPDATE roles SET permissions = $1, version = $2 WHERE name = $3', [JSON.stringify(permissions), version, name])
  },

  async DeleteRole (client, command, name) {
    const role = await find(client, 'roles', 'name', name)
    await emit(client, command, `role-${name}`, role.version, 'RoleDeletedEvent', { role: name })
    await client.query('DELETE FROM roles WHERE name = $1', [name])
  }
}

// Does what the command says, or nothing; returns the answer to it.
async function decide (client, command) {
  await client.query('SAVEPOINT command')
  try {
    if (!Object.hasOwn(COMMANDS, command.type)) throw new Refused('there is no such command')
    const key = command.stream.replace(/^command-(user|role)-/, '')
    await COMMANDS[command.type](client, command, key, command.data)
    return 'done'
  } catch (error) {
    const answer = error instanceof Refused ? error.message : BROKEN[error.constraint]
    if (answer === undefined) throw error
    await client.query('ROLLBACK TO SAVEPOINT command')
    return answer
  }
}

const [replica, ...rest] = process.argv.slice(2)
if (replica === undefined || rest.length > 0) {
  console.error('usage: node user-service.js REPLICA')
  process.exit(2)
}
await consume('user-service', replica, async (client, command) => {
  const answer = await decide(client, command)
  await client.query('INSERT INTO replies (command, answer, replica) VALUES ($1, $2, $3)', [command.id, answer, replica])
})
