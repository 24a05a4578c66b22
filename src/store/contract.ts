import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { isFlagsError } from '../errors.js'
import { piecesOf, type Change, type Kind, type Position, type Reading, type Store, type StoredDocument, type StoreEvent, type Write } from './store.js'

/** One place where documents are kept, empty at first. Each law gets one of its own. */
export interface StorePlace {
  /**
   * One more store over this place, as another process would have it. `history` is the length of the log it should keep;
   * a store that cannot choose may keep a longer one.
   */
  open (options: { history: number }): Store | Promise<Store>
  /** Says that only the store opened first can write; left out, any can. */
  oneWriter?: boolean
  /** Removes everything behind the stores' backs, as FLUSHALL does to Redis. Left out, what follows from that is not tested. */
  empty? (): Promise<void>
  /** Called at the end, after all stores of the place have been closed. */
  remove? (): Promise<void>
}

export interface StoreLaw { name: string, run (): Promise<void> }

/**
 * What every store must do, as tests for any runner:
 * `for (const { name, run } of storeContract(() => ({ open: () => new MyStore() }))) test(name, run)`
 */
export function storeContract (place: () => StorePlace | Promise<StorePlace>): StoreLaw[] {
  return laws.map(({ name, hold }) => ({
    name,
    async run () {
      const trial = new Trial(await place())
      try {
        await hold(trial)
      } finally {
        await trial.end()
      }
    }
  }))
}

type Everything = Extract<Reading, { kind: 'everything' }> & { documents: StoredDocument[] }
const nothingYet: Position = { epoch: null, revision: 0, token: null }

/** A place and what is open on it. */
class Trial {
  readonly place: StorePlace
  readonly #stores: Store[] = []

  constructor (place: StorePlace) {
    this.place = place
  }

  async open (history = 10_000): Promise<Store> {
    const store = await this.place.open({ history })
    this.#stores.push(store)
    return store
  }

  /** A second store to write with, or the first where only that can. */
  async another (first: Store): Promise<Store> {
    return this.place.oneWriter === true ? first : await this.open()
  }

  async end (): Promise<void> {
    for (const store of this.#stores) await store.close()
    await this.place.remove?.()
  }
}

async function put (store: Store, key: string, document: string | null, rest: Partial<Write> = {}) {
  const epoch = rest.epoch === undefined ? (await store.read()).position.epoch : rest.epoch
  return await store.write({ kind: 'flag', key, document, expected: 0, by: null, id: randomUUID(), ...rest, epoch })
}

async function everything (store: Store, since?: Position): Promise<Everything> {
  const everything = await gathered(await store.read(since))
  assert.ok(everything !== undefined, 'should read everything')
  return everything
}

/** A full reading with all its documents, undefined of another. */
async function gathered (reading: Reading): Promise<Everything | undefined> {
  if (reading.kind !== 'everything') return undefined
  const documents: StoredDocument[] = []
  for await (const piece of piecesOf(reading)) for (const document of piece) documents.push(document)
  return { ...reading, documents, damaged: reading.damaged }
}

async function changes (store: Store, since: Position): Promise<Array<Change | StoreEvent>> {
  const reading = await store.read(since)
  assert.equal(reading.kind, 'changes')
  return reading.kind === 'changes' ? reading.changes : []
}

async function refused (promise: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(isFlagsError(error), `should be an error of the table, not ${String(error)}`)
    assert.equal(error.code, `FST_FLAGS_${code}`)
    return true
  })
}

/** Asks until the answer is there; a store that is told of changes by another may take a moment. */
async function eventually<T> (ask: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + 10_000
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (Date.now() > end) throw new assert.AssertionError({ message: 'did not happen within 10 seconds' })
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

const oddDocuments = [
  '{}', '[]', 'null', '1.0', '1e400', '12345678901234567890', '"a\\u0000b\\ud800"', '{"a":[],"b":{},"c":1.0,"a":2}',
  ' { "spaced" :\n\t[ 1 ,2 ] } ', '{"emoji":"😀","greek":"Ὀδυσσεύς","newline":"a\\nb","line":"\u2028"}', JSON.stringify({ long: 'x'.repeat(900_000) })
]

const laws: Array<{ name: string, hold (trial: Trial): Promise<void> }> = [
  {
    name: 'a place nobody wrote to has no epoch, revision 0 and no documents',
    async hold (trial) {
      const store = await trial.open()
      const { position, documents, damaged, lost } = await everything(store)
      assert.deepEqual({ position, documents, damaged, lost }, { position: nothingYet, documents: [], damaged: [], lost: false })
      assert.deepEqual(await changes(store, nothingYet), [])
      assert.deepEqual(await store.history({ limit: 10 }), { changes: [], beginsAt: 0 })
    }
  },
  {
    name: 'a written document is read back with its version, actor and time',
    async hold (trial) {
      const store = await trial.open()
      const written = await put(store, 'a', '{"enabled":true}', { by: 'alice "the admin" Ä' })
      assert.equal(written.version, 1)
      assert.ok(Math.abs(written.time - Date.now()) < 60_000)
      const { documents, position, time } = await everything(store)
      assert.deepEqual(documents, [{ kind: 'flag', key: 'a', ...written, by: 'alice "the admin" Ä', document: '{"enabled":true}' }])
      assert.equal(position.revision, 1)
      assert.ok(position.epoch !== null && position.token !== null)
      assert.ok(time >= written.time)
    }
  },
  {
    name: 'flags and segments of one key are apart',
    async hold (trial) {
      const store = await trial.open()
      await put(store, 'a', '{"is":"a flag"}', { kind: 'flag' })
      await put(store, 'a', '{"is":"a segment"}', { kind: 'segment' })
      const { documents } = await everything(store)
      const found = (kind: Kind) => documents.find((document) => document.kind === kind)
      assert.equal(found('flag')?.document, '{"is":"a flag"}')
      assert.equal(found('segment')?.document, '{"is":"a segment"}')
      await put(store, 'a', null, { kind: 'segment', expected: 2 })
      assert.deepEqual((await everything(store)).documents.map(({ kind }) => kind), ['flag'])
    }
  },
  {
    name: 'documents are kept byte for byte, in the store, its log and its history',
    async hold (trial) {
      const store = await trial.open()
      await put(store, 'first', '{}')
      const { position } = await everything(store)
      for (const [i, document] of oddDocuments.entries()) await put(store, `odd-${i}`, document, { epoch: position.epoch })
      const stored = new Map((await everything(await trial.open())).documents.map(({ key, document }) => [key, document]))
      for (const [i, document] of oddDocuments.entries()) assert.equal(stored.get(`odd-${i}`), document)
      assert.deepEqual((await changes(store, position)).map(({ document }) => document), oddDocuments)
      assert.deepEqual((await store.history({ after: 1, limit: 100 })).changes.map(({ document }) => document), oddDocuments)
    }
  },
  {
    name: 'a reading since a position brings exactly the changes after it, oldest first',
    async hold (trial) {
      const store = await trial.open()
      await put(store, 'a', '1')
      const { position } = await everything(store)
      await put(store, 'b', '2', { by: 'bob' })
      await put(store, 'a', '3', { expected: 1 })
      await put(store, 'b', null, { expected: 2 })
      const after = await changes(store, position)
      assert.deepEqual(after.map(({ key, version, document, by }) => ({ key, version, document, by })), [
        { key: 'b', version: 2, document: '2', by: 'bob' },
        { key: 'a', version: 3, document: '3', by: null },
        { key: 'b', version: 4, document: null, by: null }
      ])
      const reading = await store.read(position)
      assert.equal(reading.position.revision, 4)
      assert.deepEqual(await changes(store, reading.position), [])
      assert.deepEqual((await everything(store)).position, reading.position)
    }
  },
  {
    name: 'a long gap is read whole',
    async hold (trial) {
      const store = await trial.open()
      await put(store, 'start', '0')
      const { position } = await everything(store)
      const { epoch } = position
      await Promise.all(Array.from({ length: 1234 }, (_, i) => put(store, `flag-${i}`, JSON.stringify({ i }), { epoch })))
      for (let i = 0; i < 6; i++) await put(store, `big-${i}`, JSON.stringify('x'.repeat(700_000)), { epoch })
      const all = await changes(store, position)
      assert.deepEqual(all.map(({ version }) => version), Array.from({ length: 1240 }, (_, i) => i + 2))
    }
  },
  {
    name: 'every write has a token of its own, also when it writes what was there',
    async hold (trial) {
      const store = await trial.open()
      const tokens = new Set<string | null>()
      for (let version = 0; version < 10; version++) {
        await put(store, 'a', '{}', { expected: version })
        tokens.add((await store.read()).position.token)
      }
      assert.equal(tokens.size, 10)
    }
  },
  {
    name: 'a position with a token of another history is lost, though epoch and revision are known',
    async hold (trial) {
      const store = await trial.open()
      await put(store, 'a', '1')
      await put(store, 'a', '2', { expected: 1 })
      const { position } = await everything(store)
      const reading = await everything(store, { ...position, revision: 1, token: randomUUID() })
      assert.equal(reading.lost, true)
      assert.equal((await everything(store, { ...position, revision: 9, token: randomUUID() })).lost, true)
      assert.equal((await everything(store, { ...position, epoch: randomUUID() })).lost, true)
      assert.equal(reading.documents.length, 1)
    }
  },
  {
    name: 'a position of before the first write is behind, not lost',
    async hold (trial) {
      const store = await trial.open()
      await put(store, 'a', '1')
      const reading = await store.read(nothingYet)
      if (reading.kind === 'everything') assert.equal(reading.lost, false)
      else assert.equal(reading.changes.length, 1)
    }
  },
  {
    name: 'a position the log has been trimmed past is answered with everything, not lost',
    async hold (trial) {
      const store = await trial.open(10)
      await put(store, 'a', '0')
      const { position } = await everything(store)
      for (let i = 1; i < 30; i++) await put(store, `a${i}`, String(i), { epoch: position.epoch })
      const reading = await store.read(position)
      const whole = await gathered(reading)
      if (reading.kind === 'changes') assert.equal(reading.changes.length, 29) // a longer log is a fine log
      else assert.deepEqual([whole?.lost, whole?.documents.length], [false, 30])
      const { beginsAt, changes: kept } = await store.history({ after: 0, limit: 100 })
      assert.equal(kept[0]?.version, beginsAt)
      assert.equal(kept.at(-1)?.version, 30)
      assert.equal(kept.length, 31 - beginsAt)
      const recent = await everything(store)
      await put(store, 'b', '1')
      assert.equal((await changes(store, recent.position)).length, 1)
    }
  },
  {
    name: 'a write expecting another version is refused with the current one, and changes nothing',
    async hold (trial) {
      const store = await trial.open()
      await put(store, 'a', '1')
      await refused(put(store, 'a', '2', { expected: 0 }), 'VERSION_CONFLICT')
      await refused(put(store, 'a', '2', { expected: 2 }), 'VERSION_CONFLICT')
      await refused(put(store, 'a', null, { expected: 7 }), 'VERSION_CONFLICT')
      await refused(put(store, 'b', '1', { expected: 1 }), 'VERSION_CONFLICT')
      const { position, documents } = await everything(store)
      assert.equal(position.revision, 1)
      assert.deepEqual(documents.map(({ document }) => document), ['1'])
      assert.equal((await store.history({ limit: 10 })).changes.length, 1)
      assert.equal((await put(store, 'a', '2', { expected: 1 })).version, 2)
    }
  },
  {
    name: 'a version is the revision of its change and is never used twice, deleted and made again included',
    async hold (trial) {
      const store = await trial.open()
      const versions = [
        (await put(store, 'a', '1')).version,
        (await put(store, 'b', '1')).version,
        (await put(store, 'a', null, { expected: 1 })).version,
        (await put(store, 'a', '2', { expected: 0 })).version,
        (await put(store, 'a', '3', { expected: 4 })).version
      ]
      assert.deepEqual(versions, [1, 2, 3, 4, 5])
      await refused(put(store, 'a', 'x', { expected: 1 }), 'VERSION_CONFLICT')
      assert.equal((await everything(await trial.open())).documents.find(({ key }) => key === 'a')?.version, 5)
    }
  },
  {
    name: 'a write that names another epoch, or none, is refused',
    async hold (trial) {
      const store = await trial.open()
      await refused(put(store, 'a', '1', { epoch: randomUUID() }), 'FOREIGN_EPOCH')
      await put(store, 'a', '1', { epoch: null })
      const { position } = await everything(store)
      await refused(put(store, 'b', '1', { epoch: null }), 'FOREIGN_EPOCH')
      await refused(put(store, 'b', '1', { epoch: randomUUID() }), 'FOREIGN_EPOCH')
      assert.deepEqual((await everything(store)).position, position)
    }
  },
  {
    name: 'the same write again applies nothing and gets the first answer',
    async hold (trial) {
      const store = await trial.open()
      const id = randomUUID()
      const first = await put(store, 'a', '1', { id })
      await put(store, 'a', '2', { expected: 1 })
      assert.deepEqual(await put(store, 'a', '1', { id }), first)
      const other = await trial.another(store)
      assert.deepEqual(await put(other, 'a', '1', { id }), first)
      const { position, documents } = await everything(store)
      assert.equal(position.revision, 2)
      assert.equal(documents[0]?.document, '2')
    }
  },
  {
    name: 'of concurrent writers each conflict is refused and no acknowledged write is lost',
    async hold (trial) {
      const first = await trial.open()
      await put(first, 'counter', '0')
      const { epoch } = (await first.read()).position
      const writers = [first, await trial.another(first), await trial.another(first), await trial.another(first)]
      const versions: number[] = []
      await Promise.all(writers.map(async (store) => {
        for (let done = 0; done < 10;) {
          const current = (await everything(store)).documents.find(({ key }) => key === 'counter')!
          try {
            const { version } = await put(store, 'counter', String(Number(current.document) + 1), { expected: current.version, epoch })
            versions.push(version)
            done++
          } catch (error) {
            assert.ok(isFlagsError(error) && error.code === 'FST_FLAGS_VERSION_CONFLICT', String(error))
          }
        }
      }))
      assert.equal(new Set(versions).size, 40)
      const { documents, position } = await everything(first)
      assert.deepEqual([documents[0]?.document, position.revision], ['40', 41])
      const log = (await store41(first)).map(({ document }) => Number(document))
      assert.deepEqual(log, Array.from({ length: 41 }, (_, i) => i))
    }
  },
  {
    name: 'of writers that begin an empty place together one begins its epoch',
    async hold (trial) {
      const first = await trial.open()
      const writers = [first, await trial.another(first), await trial.another(first)]
      const results = await Promise.allSettled(writers.map((store, i) => put(store, `a${i}`, '{}', { epoch: null })))
      assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
      for (const result of results) {
        if (result.status === 'rejected') assert.equal(result.reason.code, 'FST_FLAGS_FOREIGN_EPOCH')
      }
      assert.equal((await everything(first)).documents.length, 1)
    }
  },
  {
    name: 'a change wakes every watcher, whoever made it, and can then be read',
    async hold (trial) {
      const writer = await trial.open()
      const reader = await trial.open()
      await put(writer, 'a', '0')
      const start = await eventually(async () => {
        const { position } = await reader.read()
        return position.revision === 1 ? position : undefined
      })
      for (const store of [writer, reader]) {
        let woken = 0
        store.watch(() => { woken++ })
        const before = (await writer.read()).position.revision
        await eventually(async () => {
          const found = await store.read(start)
          return found.position.revision === before ? found : undefined
        })
        woken = 0
        await put(writer, `b${before}`, '1')
        await eventually(async () => woken > 0 ? true : undefined)
        const found = await eventually(async () => {
          const reading = await changes(store, start)
          return reading.at(-1)?.version === before + 1 ? reading : undefined
        })
        assert.equal(found.at(-1)?.key, `b${before}`)
      }
    }
  },
  {
    name: 'history is paged from new to old, and from old to new, of all documents and of one',
    async hold (trial) {
      const store = await trial.open()
      await put(store, 'a', '0')
      const { epoch } = (await store.read()).position
      for (let i = 1; i < 30; i++) await put(store, `key-${i % 3}`, String(i), { epoch, kind: i % 2 ? 'flag' : 'segment', expected: i > 6 ? i - 5 : 0 })
      const versions = async (query: Parameters<Store['history']>[0]) => (await store.history(query)).changes.map(({ version }) => version)
      assert.deepEqual(await versions({ limit: 3 }), [30, 29, 28])
      assert.deepEqual(await versions({ limit: 3, before: 28 }), [27, 26, 25])
      assert.deepEqual(await versions({ limit: 100, before: 4 }), [3, 2, 1])
      assert.deepEqual(await versions({ limit: 3, before: 1 }), [])
      assert.deepEqual(await versions({ limit: 3, after: 0 }), [1, 2, 3])
      assert.deepEqual(await versions({ limit: 3, after: 28 }), [29, 30])
      assert.deepEqual(await versions({ limit: 3, after: 30 }), [])
      assert.deepEqual(await versions({ limit: 9, after: 10, before: 13 }), [11, 12])
      assert.deepEqual(await versions({ limit: 2, kind: 'flag', key: 'key-1' }), [26, 20])
      assert.deepEqual(await versions({ limit: 2, kind: 'flag', key: 'key-1', before: 20 }), [14, 8])
      assert.deepEqual(await versions({ limit: 9, kind: 'flag', key: 'key-1', before: 8 }), [2])
      assert.deepEqual(await versions({ limit: 3, kind: 'segment', after: 0 }), [3, 5, 7])
      assert.deepEqual(await versions({ limit: 3, kind: 'flag', key: 'nobody' }), [])
      assert.equal((await store.history({ limit: 1 })).beginsAt, 1)
    }
  },
  {
    name: 'a place emptied behind its back is lost, refuses writes of before, and begins anew',
    async hold (trial) {
      if (trial.place.empty === undefined) return
      const store = await trial.open()
      await put(store, 'a', '1')
      const before = (await store.read()).position
      await trial.place.empty()
      const reading = await eventually(async () => await gathered(await store.read(before)))
      assert.deepEqual([reading.lost, reading.documents], [true, []])
      await refused(put(store, 'a', '2', { expected: 1, epoch: before.epoch }), 'FOREIGN_EPOCH')
      await refused(put(store, 'b', '2', { epoch: before.epoch }), 'FOREIGN_EPOCH')
      await put(store, 'c', '3', { epoch: null })
      const after = await everything(store, before)
      assert.equal(after.lost, true)
      assert.notEqual(after.position.epoch, before.epoch)
      assert.deepEqual(after.documents.map(({ key }) => key), ['c'])
    }
  },
  {
    name: 'a new store finds what an earlier one left',
    async hold (trial) {
      const keeper = await trial.open()
      await put(keeper, 'a', '1')
      const { position } = await everything(keeper)
      const late = await trial.open()
      const reading = await everything(late)
      assert.deepEqual(reading.position, position)
      assert.deepEqual(reading.documents, (await everything(keeper)).documents)
    }
  },
  {
    name: 'a closed store answers every call with STORE_CLOSED and wakes nobody; closing twice is fine',
    async hold (trial) {
      const store = await trial.open()
      const other = await trial.open()
      await put(store, 'a', '1')
      const { epoch } = (await store.read()).position
      let woken = 0
      const quiet = trial.place.oneWriter === true ? other : store
      quiet.watch(() => { woken++ })
      const pending = quiet.read()
      await Promise.all([quiet.close(), quiet.close(), pending.catch((error) => { assert.equal(error.code, 'FST_FLAGS_STORE_CLOSED') })])
      await quiet.close()
      await refused(quiet.read(), 'STORE_CLOSED')
      await refused(quiet.history({ limit: 1 }), 'STORE_CLOSED')
      await refused(put(quiet, 'b', '1', { epoch }), 'STORE_CLOSED')
      woken = 0
      const writer = quiet === store ? other : store
      await put(writer, 'c', '1', { epoch })
      await new Promise((resolve) => setTimeout(resolve, 50))
      assert.equal(woken, 0)
    }
  }
]

async function store41 (store: Store): Promise<Array<Change | StoreEvent>> {
  return (await store.history({ kind: 'flag', key: 'counter', after: 0, limit: 100 })).changes
}
