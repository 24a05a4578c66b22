// A store of one's own: five methods, held to the contract that our own stores are held to. This one keeps its tables in
// memory; in a database each method is one transaction, and `wake` is LISTEN/NOTIFY, a change stream or a timer.
//
//   node examples/custom-store.js
//
// $ curl -s localhost:3000/
// {"dark":true}
//
// The contract, in any test runner:
//
//   import { storeContract } from 'fastify-flags/store-contract'
//   for (const { name, run } of storeContract(() => { const tables = new Tables(); return { open: () => new TableStore(tables) } })) test(name, run)
import { randomUUID } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import Fastify from 'fastify'
import flags, { errors } from 'fastify-flags'

/** What a database would hold: a row of position, a table of documents, a table of changes, a table of recent operations. */
export class Tables {
  position = { epoch: null, revision: 0, token: null }
  documents = new Map()
  log = []
  operations = new Map()
  watchers = new Set()
}

export class TableStore {
  constructor (tables) {
    this.tables = tables
  }

  async read (since) {
    this.assertOpen()
    const { position, documents, log } = this.tables
    const time = Date.now()
    if (since?.epoch === position.epoch) {
      const known = since.revision === 0 ? since.token === null : log[since.revision - 1]?.token === since.token
      if (known) return { kind: 'changes', position, time, changes: log.slice(since.revision).map(({ change }) => change) }
    }
    return { kind: 'everything', position, time, documents: [...documents.values()], damaged: [], lost: since !== undefined && since.epoch !== null }
  }

  async write ({ kind, key, document, expected, epoch, by, id }) {
    this.assertOpen()
    const { tables } = this
    if (tables.operations.has(id)) return tables.operations.get(id)
    if (epoch !== tables.position.epoch) throw new errors.FOREIGN_EPOCH()
    const current = tables.documents.get(`${kind}:${key}`)?.version ?? 0
    if (current !== expected) throw new errors.VERSION_CONFLICT(`${kind} ${key}`, current, expected)

    const change = { kind, key, version: tables.position.revision + 1, time: Date.now(), by, document }
    if (document === null) tables.documents.delete(`${kind}:${key}`)
    else tables.documents.set(`${kind}:${key}`, change)
    const token = randomUUID()
    tables.log.push({ token, change })
    tables.position = { epoch: epoch ?? randomUUID(), revision: change.version, token }
    const written = { version: change.version, time: change.time }
    tables.operations.set(id, written)
    for (const wake of tables.watchers) setImmediate(wake)
    return written
  }

  watch (wake) {
    this.wake = wake
    this.tables.watchers.add(wake)
  }

  async history ({ kind, key, before = Infinity, after, limit }) {
    this.assertOpen()
    const changes = this.tables.log.map(({ change }) => change).filter((change) =>
      (kind === undefined || change.kind === kind) && (key === undefined || change.key === key) &&
      change.version < before && change.version > (after ?? 0))
    if (after === undefined) changes.reverse()
    return { changes: changes.slice(0, limit), beginsAt: this.tables.log.length === 0 ? 0 : 1 }
  }

  async close () {
    this.closed = true
    this.tables.watchers.delete(this.wake)
  }

  assertOpen () {
    if (this.closed) throw new errors.STORE_CLOSED()
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const app = Fastify({ logger: true })
  await app.register(flags, { store: new TableStore(new Tables()) })
  app.get('/', async (req) => ({ dark: req.flags.isEnabled('dark_mode') }))
  await app.flags.admin.put('dark_mode', { enabled: true })
  await app.listen({ port: Number(process.env.PORT ?? 3000) })
}
