import { userInfo } from 'node:os'
import { Admin, type ChangesQuery, type DocumentSet, type FlagPatch, type HistoryRange } from '../admin.js'
import { errors, isFlagsError } from '../errors.js'
import type { EvaluationContext } from '../model/context.js'
import { Replica } from '../replica.js'
import { readDuration } from '../routes/query.js'
import type { Store } from '../store/store.js'
import type { Client, ListFilter } from './client.js'
import type { Target } from './target.js'

/** How long a store may take to answer at all; milliseconds. */
const patience = 30_000

type StoreTarget = Exclude<Target, { kind: 'url' }>

/** A client that is a process of its own over the store, as a server is. Its changes are by the user of this machine. */
export async function openDirect (target: StoreTarget, warn: (text: string) => void): Promise<Client> {
  const store = await openStore(target, warn)
  const replica = new Replica({ store, staleAfter: patience })
  const settled = new Promise<void>((resolve) => replica.once('ready', resolve).once('problem', () => resolve()))
  await replica.start(0)
  await settled
  if (replica.status === 'NOT_READY') {
    await replica.close()
    throw replica.problem ?? new errors.NOT_READY()
  }
  if (replica.problem !== null) warn(replica.problem.message)
  return clientOf(replica, target, userName())
}

/** Each store is imported when it is asked for: nobody waits for what is not used. */
async function openStore (target: StoreTarget, warn: (text: string) => void): Promise<Store> {
  if (target.kind === 'file') return new (await import('../store/file.js')).FileStore({ file: target.path })
  return new (await import('../store/redis.js')).RedisStore({ redis: target.url, namespace: target.namespace, warn })
}

function clientOf (replica: Replica, target: StoreTarget, by: string): Client {
  const admin = new Admin(replica)
  const write = async <T>(change: Promise<T>): Promise<T> => {
    try {
      return await change
    } catch (error) {
      if (target.kind !== 'file' || !isFlagsError(error) || error.code !== 'FST_FLAGS_READ_ONLY') throw error
      throw Object.assign(new Error(`${error.message}. Ask that one: --url with its address, such as --url http://127.0.0.1:8080`), { code: error.code, statusCode: error.statusCode })
    }
  }
  return {
    list: async ({ stale, ...filter }: ListFilter) => admin.list({ ...filter, stale: readDuration('--stale', stale), limit: 1000 }),
    get: async (key) => admin.get(key),
    patch: async (key: string, patch: FlagPatch) => await write(admin.patch(key, patch, { by })),
    switch: async (key, action, environment) => await write(admin[action](key, { environment, by })),
    rollout: async (key, place) => await admin.rollout(key, place),
    move: async (key, move, place) => await write(admin[move](key, { ...place, by })),
    explain: async (key: string, context: EvaluationContext, environment) => admin.explain(key, context, environment),
    history: async (key: string, range: HistoryRange) => await admin.history(key, range),
    changes: async (query: ChangesQuery) => await admin.changes(query),
    delete: async (kind, key) => { await write(kind === 'flag' ? admin.delete(key, { by }) : admin.deleteSegment(key, { by })) },
    listSegments: async ({ after }) => admin.listSegments({ after, limit: 1000 }),
    export: () => admin.exportText(),
    import: async (documents: DocumentSet, dryRun) => await write(admin.import(documents, { dryRun, by })),
    close: async () => { await replica.close() }
  }
}

/** Who changes flags from this command line, for the history. */
function userName (): string {
  try {
    return userInfo().username
  } catch { // a user id without an entry, as in some containers
    return process.env.USER || 'command line'
  }
}
