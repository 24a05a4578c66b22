import { once } from 'node:events'
import { mkdir, readFile, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Bootstrap } from '../src/replica/documents.js'
import type { FlagsError } from '../src/errors.js'
import { keepSnapshotFile } from '../src/replica/keep-snapshot-file.js'
import { SnapshotFile } from '../src/replica/snapshot-file.js'
import { Replica, type ChangeEvent, type ReplicaOptions } from '../src/replica.js'
import { Memory, MemoryStore } from '../src/store/memory.js'
import type { Reading } from '../src/store/store.js'
import { FaultyStore } from './helpers/faulty-store.js'
import { makeFolder } from './helpers/folder.js'
import { write } from './helpers/memory.js'
import { documentsOf } from './helpers/reading.js'
import { until } from './helpers/until.js'

const on = '{"enabled":true}'
const off = '{"enabled":false}'

/** A replica of a memory, behind a store that can fail; it polls only when told. */
function build (t: { teardown (close: () => unknown): void }, options: Partial<ReplicaOptions> & { memory?: Memory } = {}) {
  const memory = options.memory ?? new Memory()
  const store = new FaultyStore(new MemoryStore(memory))
  const replica = new Replica({ store, pollInterval: 60_000, ...options })
  const said: Array<[string, unknown]> = []
  replica.on('change', (change) => said.push(['change', change]))
  replica.on('ready', () => said.push(['ready', undefined]))
  replica.on('stale', () => said.push(['stale', undefined]))
  replica.on('problem', (problem) => said.push(['problem', problem.code]))
  const alive = setInterval(() => {}, 1000) // a replica alone keeps no process alive
  t.teardown(() => {
    clearInterval(alive)
    return replica.close()
  })
  return { memory, store, replica, said }
}

function isOn (replica: Replica, key: string): boolean | undefined {
  const { snapshot } = replica
  return snapshot.flag(key)?.evaluate({ snapshot, environment: 'production', context: {}, now: 0 }).enabled
}

t.test('a replica loads everything, then follows each change, removals included', async (t) => {
  const { memory, replica, said } = build(t)
  write(memory, 'a', on)
  write(memory, 'b', off)
  write(memory, 's', '{"when":{"attribute":"x","operator":"exists"}}', 'segment')
  t.equal(replica.status, 'NOT_READY')
  t.equal(replica.lastSyncedAt, null)
  await replica.start()
  t.match(replica, { status: 'READY', revision: 3, epoch: memory.log.position.epoch, problem: null, lastSyncedAt: Number })
  t.same([isOn(replica, 'a'), isOn(replica, 'b'), isOn(replica, 'c')], [true, false, undefined])

  const pinned = replica.snapshot
  write(memory, 'b', on)
  write(memory, 'a', null)
  t.equal(await replica.sync(5), true)
  t.same([isOn(replica, 'a'), isOn(replica, 'b')], [undefined, true])
  t.equal(pinned.flag('a')?.provenance.version, 1, 'a snapshot someone holds stays as it was')
  t.same(said, [
    ['change', { revision: 3, flags: ['a', 'b'], segments: ['s'] }],
    ['ready', undefined],
    ['change', { revision: 5, flags: ['b', 'a'], segments: [] }]
  ])
})

t.test('what a listener hears of is already in place', async (t) => {
  const { memory, replica } = build(t)
  write(memory, 'a', on)
  const change = once(replica, 'change') as Promise<[ChangeEvent]>
  const seen = new Promise((resolve) => replica.once('change', () => resolve([replica.status, replica.revision, isOn(replica, 'a')])))
  await replica.start()
  t.same(await seen, ['READY', 1, true])
  t.equal((await change)[0].revision, 1)
})

t.test('a listener that throws or rejects breaks neither the loop nor the next listener', async (t) => {
  const { memory, replica } = build(t)
  const warnings: Error[] = []
  const warned = (warning: Error) => warnings.push(warning)
  process.on('warning', warned)
  t.teardown(() => process.off('warning', warned))
  replica.once('change', () => { throw new Error('first') })
  replica.once('change', async () => { throw new Error('second') })
  let heard = 0
  replica.on('change', () => heard++)
  write(memory, 'a', on)
  await replica.start()
  write(memory, 'b', on)
  t.equal(await replica.sync(2), true)
  t.equal(heard, 2)
  await sleep(1)
  t.match(warnings.map(({ message }) => message), [/'change' failed: first/, /'change' failed: second/])
})

t.test('wake-ups during a read cause exactly one more, and no two reads run at once', async (t) => {
  const { memory, store, replica } = build(t)
  write(memory, 'first', on)
  await replica.start()
  const begun = store.reads
  let release = () => {}
  store.onRead = async (read) => {
    await new Promise<void>((resolve) => { release = resolve })
    return read()
  }
  for (let i = 0; i < 5; i++) store.wake()
  write(memory, 'a', on)
  await sleep(1)
  t.equal(store.reads, begun + 1)
  store.onRead = undefined
  release()
  t.equal(await replica.sync(2), true)
  await replica.sync()
  await sleep(5)
  t.equal(store.reads, begun + 3, 'the one under way, one for all wake-ups, one for the last sync')
  t.equal(store.concurrent, 1)
})

t.test('sync resolves although wake-ups never end', async (t) => {
  const { store, replica } = build(t)
  await replica.start()
  store.onRead = async (read) => {
    store.wake()
    await sleep(1)
    return read()
  }
  t.equal(await replica.sync(), true)
})

t.test('sync gives up on a store that does not answer, and says so', async (t) => {
  const { memory, store, replica } = build(t)
  await replica.start()
  store.onRead = store.hang
  write(memory, 'a', on)
  t.equal(await replica.sync(1), false)
})

t.test('a document of a full load may be newer than its position: older log entries do not undo it', async (t) => {
  const { memory, store, replica } = build(t)
  write(memory, 'a', off)
  write(memory, 'gone', on)
  store.onRead = async (read) => {
    const reading = await read()
    if (reading.kind === 'everything') {
      store.onRead = undefined
      write(memory, 'a', null)
      write(memory, 'a', on)
      write(memory, 'gone', null)
      write(memory, 'new', on)
      const later = await read() as Extract<Reading, { kind: 'everything' }>
      return { ...later, position: reading.position }
    }
    return reading
  }
  await replica.start()
  t.equal(replica.revision, 6)
  t.same(['a', 'gone', 'new'].map((key) => isOn(replica, key)), [true, undefined, true])
  t.equal(replica.snapshot.flag('a')?.provenance.version, 4)
})

t.test('a reload after a gap keeps what did not change compiled', async (t) => {
  const { memory, replica, said } = build(t, { memory: new Memory({ history: 3 }) })
  write(memory, 'same', on)
  write(memory, 'changed', off)
  write(memory, 'removed', on)
  await replica.start()
  const same = replica.snapshot.flag('same')
  said.length = 0
  write(memory, 'removed', null)
  for (const document of [on, off, on, off, on]) write(memory, 'changed', document)
  t.equal(memory.read({ ...memory.log.position, revision: 3, token: 'gone' }).kind, 'everything')
  t.equal(await replica.sync(9), true)
  t.equal(replica.snapshot.flag('same'), same)
  t.same(said, [['change', { revision: 9, flags: ['changed', 'removed'], segments: [] }]])
})

t.test('on a read error everything is kept; STALE comes later, each is said once, and it recovers by itself', async (t) => {
  const { memory, store, replica, said } = build(t, { staleAfter: 100, pollInterval: 10 })
  write(memory, 'a', on)
  await replica.start()
  said.length = 0
  store.onRead = async () => { throw new Error('no route to host') }
  await once(replica, 'problem')
  t.match(replica, { status: 'READY', problem: { code: 'FST_FLAGS_STORE_UNAVAILABLE', message: /no route to host/ } })
  const { lastSyncedAt } = replica
  await once(replica, 'stale')
  await sleep(50)
  t.match(replica, { status: 'STALE', lastSyncedAt, revision: 1 })
  t.equal(isOn(replica, 'a'), true)
  write(memory, 'a', off)
  store.onRead = undefined
  await once(replica, 'ready')
  t.match(replica, { status: 'READY', problem: null, revision: 2 })
  t.equal(isOn(replica, 'a'), false)
  t.same(said.map(([event, what]) => event === 'problem' ? what : event), ['FST_FLAGS_STORE_UNAVAILABLE', 'stale', 'change', 'ready'])
})

t.test('STALE comes also when a read never answers, and the store\'s clock stops then', async (t) => {
  const { store, replica, said } = build(t, { staleAfter: 60, pollInterval: 10 })
  await replica.start()
  store.onRead = store.hang
  await once(replica, 'stale')
  t.equal(replica.problem?.code, 'FST_FLAGS_STORE_UNAVAILABLE')
  const stopped = replica.now()
  await sleep(30)
  t.equal(replica.now(), stopped)
  t.same(said.map(([event]) => event), ['ready', 'problem', 'stale'])
})

t.test('the clock is the store\'s, whatever this machine thinks', async (t) => {
  const { store, replica } = build(t)
  store.onRead = async (read) => ({ ...await read(), time: Date.now() + 3_600_000 })
  await replica.start()
  t.ok(Math.abs(replica.now() - Date.now() - 3_600_000) < 1000)
  t.ok(Math.abs(replica.lastSyncedAt! - Date.now()) < 1000, 'lastSyncedAt is this machine\'s')
})

t.test('a stage that begins by the clock is told of when it has begun', async (t) => {
  const { memory, store, replica } = build(t)
  const at = Date.now() + 3_600_000
  store.onRead = async (read) => ({ ...await read(), time: at - 500 })
  write(memory, 'a', JSON.stringify({ enabled: true, serve: { stages: [{ percentage: 0 }, { percentage: 100, at: new Date(at).toISOString() }] } }))
  await replica.start()
  const [begun] = await once(replica, 'stage')
  t.same(begun, { flag: 'a', environment: undefined, rule: undefined, stage: 1, percentage: 100, at })
  t.ok(replica.now() >= at)
})

t.test('a bootstrap that is not valid is refused with every field at fault', async (t) => {
  const bootstrap = { flags: { a: { enabled: 'yes' }, b: { enabled: true, prerequisites: [{ flag: 'missing' }] } }, segments: { s: {} } } as unknown as Bootstrap
  t.throws(() => new Replica({ store: new MemoryStore(), bootstrap }), { code: 'FST_FLAGS_INVALID_OPTION', message: /\/flags\/a\/enabled .*\/flags\/b\/prerequisites\/0\/flag .*\/segments\/s/ })
})

t.test('a store that is down at start is waited for no longer than asked, and bootstrap is served until it is up', async (t) => {
  const memory = new Memory()
  const { store, replica, said } = build(t, { memory, pollInterval: 10, bootstrap: { flags: { a: { enabled: true }, b: { enabled: true } } } })
  write(memory, 'a', off)
  store.onRead = async () => { throw new Error('down') }
  t.match(replica, { status: 'STALE', revision: 0, lastSyncedAt: null })
  await replica.start(30)
  t.same([isOn(replica, 'a'), isOn(replica, 'b')], [true, true])
  t.equal(replica.status, 'STALE')
  store.onRead = undefined
  await once(replica, 'ready')
  t.same([isOn(replica, 'a'), isOn(replica, 'b')], [false, undefined], 'replaced wholly')
  t.same(said.slice(1), [['change', { revision: 1, flags: ['a', 'b'], segments: [] }], ['ready', undefined]])
})

t.test('without bootstrap a store that is down leaves NOT_READY, and a hanging one too', async (t) => {
  for (const hangs of [false, true]) {
    const { store, replica } = build(t, { staleAfter: 30 })
    store.onRead = hangs ? store.hang : async () => { throw new Error('down') }
    const problem = once(replica, 'problem')
    await replica.start(10)
    await problem
    t.match(replica, { status: 'NOT_READY', problem: { code: 'FST_FLAGS_STORE_UNAVAILABLE' } })
  }
})

t.test('a document that cannot be read keeps its own last good value; it is said once for each version', async (t) => {
  const { memory, replica, said } = build(t)
  write(memory, 'a', on)
  write(memory, 'never-good', '{"enabled":')
  await replica.start()
  t.equal(isOn(replica, 'never-good'), undefined)
  t.match(replica, { status: 'READY', problem: { code: 'FST_FLAGS_DAMAGED_DOCUMENT', message: /flag never-good .*not served/ } })
  t.equal(replica.damagedVersion('flag', 'never-good'), 2)
  write(memory, 'a', 'not JSON')
  write(memory, 'other', on)
  await replica.sync(4)
  await replica.sync()
  t.same([isOn(replica, 'a'), isOn(replica, 'other')], [true, true])
  t.equal(replica.damagedVersion('flag', 'a'), 3)
  write(memory, 'never-good', null)
  write(memory, 'a', off)
  await replica.sync(6)
  t.equal(isOn(replica, 'a'), false)
  t.equal(replica.problem, null)
  t.equal(replica.damagedVersion('flag', 'a'), undefined)
  t.same(said.filter(([event]) => event === 'problem').length, 2)
})

t.test('a reload keeps the last good value of what is damaged, and says nothing anew', async (t) => {
  const { memory, store, replica, said } = build(t)
  write(memory, 'a', on)
  write(memory, 'b', on)
  await replica.start()
  const reload = async () => {
    write(memory, 'b', '{')
    store.onRead = async () => {
      store.onRead = undefined
      const reading = await store.behind.read() as Extract<Reading, { kind: 'everything' }>
      return { ...reading, documents: (await documentsOf(reading)).filter(({ key }) => key !== 'b'), damaged: [{ kind: 'flag', key: 'b' }] }
    }
    await replica.sync()
  }
  await reload()
  await reload()
  t.same([isOn(replica, 'a'), isOn(replica, 'b')], [true, true])
  t.equal(replica.damagedVersion('flag', 'b'), null)
  t.same(said.filter(([event]) => event === 'problem'), [['problem', 'FST_FLAGS_DAMAGED_DOCUMENT']])
})

t.test('documents may come in pieces, twice, and damaged the second time; nothing is served until all are there', async (t) => {
  const { memory, store, replica } = build(t)
  write(memory, 'a', on)
  write(memory, 'b', on)
  let failing = true
  store.onRead = async (read) => {
    const reading = await read()
    if (reading.kind === 'changes') return reading
    const [a, b] = await documentsOf(reading)
    const damaged: Array<{ kind: 'flag', key: string }> = []
    const pieces = async function * () {
      yield [a!]
      t.equal(replica.snapshot.flag('a'), undefined)
      if (failing) throw new Error('in the middle')
      yield [a!, { ...a!, key: 'later' }]
      damaged.push({ kind: 'flag', key: 'later' })
      yield [b!]
    }
    return { ...reading, documents: pieces(), damaged }
  }
  await replica.start(0)
  await replica.sync()
  t.equal(replica.status, 'NOT_READY')
  t.match(replica.problem, { code: 'FST_FLAGS_STORE_UNAVAILABLE', message: /in the middle/ })
  failing = false
  await replica.sync()
  t.same(['a', 'b', 'later'].map((key) => isOn(replica, key)), [true, true, undefined])
  t.equal(replica.damagedVersion('flag', 'later'), null)
  t.equal(replica.damagedVersion('flag', 'a'), undefined)
})

t.test('an emptied store changes nothing but the status', async (t) => {
  const { memory, store, replica, said } = build(t)
  write(memory, 'a', on)
  await replica.start()
  store.behind = new MemoryStore(new Memory())
  t.equal(await replica.sync(), false)
  await replica.sync()
  t.match(replica, { status: 'STALE', revision: 1, epoch: memory.log.position.epoch, problem: { code: 'FST_FLAGS_STORE_EMPTIED' } })
  t.equal(isOn(replica, 'a'), true)
  t.same(said.slice(2), [['problem', 'FST_FLAGS_STORE_EMPTIED'], ['stale', undefined]])
  store.behind = new MemoryStore(memory)
  t.equal(await replica.sync(), true)
  t.match(replica, { status: 'READY', problem: null })
})

t.test('a store replaced by another is followed and reported, whatever its revision', async (t) => {
  for (const writes of [1, 5]) {
    const { memory, store, replica, said } = build(t)
    write(memory, 'a', on)
    write(memory, 'gone', on)
    write(memory, 'same', on)
    await replica.start()
    said.length = 0
    const other = new Memory()
    write(other, 'a', off)
    for (let i = 1; i < writes; i++) write(other, 'a', off)
    store.behind = new MemoryStore(other)
    t.equal(await replica.sync(), true)
    t.match(replica, { status: 'READY', problem: null, revision: writes, epoch: other.log.position.epoch })
    t.same([isOn(replica, 'a'), isOn(replica, 'gone')], [false, undefined])
    t.same(said, [['problem', 'FST_FLAGS_STORE_REPLACED'], ['change', { revision: writes, flags: ['a', 'gone', 'same'], segments: [] }]])
  }
})

t.test('a store that went back in time is followed, though a version stands for another document now', async (t) => {
  const { memory, store, replica } = build(t)
  write(memory, 'a', off)
  write(memory, 'a', on)
  await replica.start()
  const { time } = replica.snapshot.flag('a')!.provenance
  const { epoch } = memory.log.position
  const back = new Memory()
  write(back, 'a', off)
  write(back, 'a', off)
  store.behind = new MemoryStore(back)
  store.onRead = async (read) => {
    const reading = await read()
    const position = { ...reading.position, epoch }
    return reading.kind === 'changes' ? { ...reading, position } : { ...reading, position, documents: (await documentsOf(reading)).map((document) => ({ ...document, time })) }
  }
  t.equal(await replica.sync(), true)
  t.equal(isOn(replica, 'a'), false)
})

t.test('close stops reading, and waits for the read under way', async (t) => {
  const { store, replica } = build(t, { pollInterval: 5 })
  await replica.start()
  let done = false
  store.onRead = async (read) => {
    const reading = await read()
    await sleep(30)
    done = true
    return reading
  }
  void replica.sync()
  await sleep(1)
  await replica.close()
  t.equal(done, true)
  const { reads } = store
  await sleep(20)
  t.equal(store.reads, reads)
  t.equal(replica.problem, null)
})

t.test('each time that the snapshot file can no longer be written is told once, and when it can be it is', async (t) => {
  const path = join(makeFolder(t), 'flags.snapshot')
  const { memory, replica, said } = build(t)
  const keeper = keepSnapshotFile(replica, new SnapshotFile(path, 'flags'))
  const problems = () => said.filter(([what]) => what === 'problem').length
  await replica.start()
  const lose = async (outage: number) => {
    await mkdir(path) // no file can take its place
    write(memory, `missed-${outage}`, on)
    await replica.sync()
    await until(() => problems() === outage)
  }
  await lose(1)
  await rmdir(path)
  write(memory, 'kept', on)
  await replica.sync()
  await until(async () => (await readFile(path, 'utf8').catch(() => '')).includes('kept'))
  t.equal(problems(), 1)
  await rm(path)
  await lose(2)
  await keeper.close() // tries once more
  t.equal(problems(), 2)
})

t.test('what is reported from outside the store is said once', async (t) => {
  const { replica, said } = build(t)
  const problem = Object.assign(new Error('oops'), { code: 'FST_FLAGS_X', statusCode: 500 }) satisfies FlagsError
  replica.report(problem)
  replica.report(problem)
  t.same(said, [['problem', 'FST_FLAGS_X']])
  t.equal(replica.problem, null)
})
