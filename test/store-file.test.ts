import { appendFile, lstat, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { storeContract } from '../src/store/contract.js'
import { FileStore } from '../src/store/file.js'
import type { Kind, Store } from '../src/store/store.js'
import { makeFolder } from './helpers/folder.js'
import { documentsOf } from './helpers/reading.js'
import { until } from './helpers/until.js'

let folders = 0

t.test('the contract of all stores', async (t) => {
  const base = makeFolder(t)
  for (const { name, run } of storeContract(() => {
    const folder = join(base, String(folders++))
    return {
      open: ({ history }) => new FileStore({ file: join(folder, 'flags.json'), history }),
      oneWriter: true,
      remove: () => rm(folder, { recursive: true, force: true })
    }
  })) await t.test(name, run)
})

/** A folder with a flags file, and a way to open it (closed again at the end). */
function place (t: Test, files: Record<string, string> = {}) {
  const folder = makeFolder(t, files)
  const file = join(folder, 'flags.json')
  const open = (history?: number) => {
    const store = new FileStore({ file, history })
    t.teardown(() => store.close())
    return store
  }
  return { folder, file, log: `${file}.log`, open, read: () => readFile(file, 'utf8') }
}

async function put (store: Store, key: string, document: string | null, { expected = 0, kind = 'flag' as Kind } = {}) {
  const { position: { epoch } } = await store.read()
  return await store.write({ kind, key, document, expected, epoch, by: 'alice', id: randomUUID() })
}

async function documents (store: Store): Promise<Record<string, string>> {
  return Object.fromEntries((await documentsOf(await store.read())).map(({ key, document }) => [key, document]))
}

async function changesOf (store: Store) {
  const { changes } = await store.history({ after: 0, limit: 100 })
  return changes.map(({ version, key, by, document }) => [version, key, by, document])
}

/** A valid flag's text. */
function doc (n: number): string {
  return `{"tags":["${n}"]}`
}

const tended = `{
  "$schema": "https://example.com/flags.json",
  "flags": {
    "a": { "enabled": true },   "b": {"enabled":false,
        "tags": [ "x" ] },

    "c": { "public": true }
  },
  "note": [1, 2.0, "}\\""]
}
`

t.test('a write touches only its document; whatever else a person wrote stays byte for byte', async (t) => {
  const { open, read } = place(t, { 'flags.json': tended })
  const store = open()
  await documents(store)
  t.equal(await read(), tended, 'opening changes nothing')
  await put(store, 'c', '{"enabled":true,"tags":[]}', { expected: 3 })
  await put(store, 'd', 'false')
  await put(store, 's', '{"when":{}}', { kind: 'segment' })
  t.equal(await read(), tended
    .replace('"c": { "public": true }', '"c": {\n      "enabled": true,\n      "tags": []\n    },\n    "d": false')
    .replace('"}\\""]', '"}\\""],\n  "segments": {\n    "s": {\n      "when": {}\n    }\n  }'))
  await put(store, 'b', null, { expected: 2 })
  t.same(Object.keys(JSON.parse(await read()).flags), ['a', 'c', 'd'])
  t.match(await read(), '"a": { "enabled": true },\n\n    "c"')
})

t.test('a missing file is made, with its folders', async (t) => {
  const folder = makeFolder(t)
  const file = join(folder, 'deep', 'down', 'flags.json')
  const store = new FileStore({ file })
  t.teardown(() => store.close())
  t.same(await documents(store), {})
  t.same(JSON.parse(await readFile(file, 'utf8')), { flags: {} })
})

t.test('an edit between two runs becomes changes by file', async (t) => {
  const { file, open } = place(t, { 'flags.json': '{ "flags": { "a": { "tags": ["1"] }, "b": { "tags": ["2"] }, "c": { "tags": ["3"] } } }' })
  const first = open()
  await documents(first)
  await put(first, 'c', doc(33), { expected: 3 })
  await first.close()
  await writeFile(file, '{ "flags": { "d": { "tags": ["4"] }, "c": { "tags": ["33"] }, "a": { "tags": ["11"] } } }')
  const second = open()
  t.same(await changesOf(second), [
    [1, 'a', 'file', doc(1)], [2, 'b', 'file', doc(2)], [3, 'c', 'file', doc(3)], [4, 'c', 'alice', doc(33)],
    [5, 'd', 'file', doc(4)], [6, 'a', 'file', doc(11)], [7, 'b', 'file', null]
  ])
  await second.close()
  t.equal((await changesOf(open())).length, 7, 'and only once')
})

t.test('the hours of stages that were written by hand run, stand still while the flag is off, and go on after a restart', async (t) => {
  const { file, open, read } = place(t)
  const write = async (flag: object) => { await writeFile(file, JSON.stringify({ flags: { a: flag } })) }
  const stages = [{ percentage: 5, hours: 1 }, { percentage: 25 }]
  const stateOf = async (store: Store) => JSON.parse((await documents(store)).a!).serve.state
  await write({ enabled: true, serve: { stages } })
  const store = open()
  const begun = await stateOf(store)
  t.match(begun, { stage: 0, since: /^20/ })
  t.notMatch(await read(), 'since', 'the file stays as it was written')
  await write({ enabled: true, serve: { stages }, description: 'edited' })
  t.same(await stateOf(store), begun)
  await write({ enabled: false, serve: { stages, state: { stage: 1, since: '2020-01-01T00:00:00Z' } } })
  t.match(await stateOf(store), { ...begun, disabledAt: /^20/ }, 'where it stands is not the file\'s to say')
  const { length } = await changesOf(store)
  await store.close()

  const again = open()
  t.match(await stateOf(again), { ...begun, disabledAt: /^20/ })
  t.equal((await changesOf(again)).length, length, 'the text without a state is no edit')
  await write({ enabled: true, serve: { stages } })
  t.equal((await stateOf(again)).disabledAt, undefined)
  await write({ enabled: true, serve: { stages: [{ percentage: 50 }] } })
  t.match(await stateOf(again), { stage: 0, since: /^20/ }, 'other stages begin anew')
})

t.test('a file that brings the state of a rollout along, and no log, goes on from there', async (t) => {
  const state = { stage: 1, since: '2026-01-01T00:00:00.000Z' }
  const { open } = place(t, { 'flags.json': JSON.stringify({ flags: { a: { enabled: true, serve: { stages: [{ percentage: 5 }, { percentage: 25 }], state } } } }) })
  t.same(JSON.parse((await documents(open())).a!).serve.state, state)
})

t.test('an edit while it runs wakes the watcher and becomes a change by file, however an editor writes it', async (t) => {
  const { file, open } = place(t, { 'flags.json': '{ "flags": { "a": { "tags": ["1"] } } }' })
  const store = open()
  await documents(store)
  let woken = 0
  store.watch(() => { woken++ })
  await writeFile(file, '{ "flags": { "a": { "tags": ["2"] } } }')
  await until(async () => woken > 0)
  t.same(await documents(store), { a: doc(2) })
  woken = 0
  await writeFile(`${file}~`, '{ "flags": { "a": { "tags": ["3"] } } }')
  await rename(`${file}~`, file)
  await until(async () => woken > 0)
  t.same((await changesOf(store)).map(([, , by, document]) => [by, document]), [['file', doc(1)], ['file', doc(2)], ['file', doc(3)]])
})

t.test('a write after an edit that nobody noticed yet does not undo it', async (t) => {
  const { file, open, read } = place(t, { 'flags.json': '{ "flags": { "a": { "tags": ["1"] }, "b": { "tags": ["1"] } } }' })
  const store = open()
  await documents(store)
  await writeFile(file, '{ "flags": { "a": { "tags": ["2"] }, "b": { "tags": ["1"] } } }')
  const { position: { epoch } } = await store.read()
  await writeFile(file, '{ "flags": { "a": { "tags": ["3"] }, "b": { "tags": ["1"] } } }')
  const write = { kind: 'flag' as const, epoch, by: null }
  await t.rejects(store.write({ ...write, key: 'a', document: doc(9), expected: 3, id: randomUUID() }), { code: 'FST_FLAGS_VERSION_CONFLICT' })
  await writeFile(file, '{ "flags": { "a": { "tags": ["4"] }, "b": { "tags": ["1"] } } }')
  await store.write({ ...write, key: 'b', document: doc(2), expected: 2, id: randomUUID() })
  t.same(JSON.parse(await read()), { flags: { a: { tags: ['4'] }, b: { tags: ['2'] } } })
})

t.test('a damaged file is refused at open with line and column, never replaced, and heals when it is mended', async (t) => {
  for (const [text, message] of [
    ['{\n  "flags": {\n    "a": { "enabled": true },\n  }\n}', /flags\.json .*line 4, column 3/],
    ['{ "flags": { "a": 1, "b": 2, "a": 3 } }', /flags\.json .*\/flags\/a .*line 1, column 30/],
    ['', /flags\.json .*line 1, column 1/],
    ['[]', /must hold an object/],
    ['{ "flags": [] }', /an object in "flags"/]
  ] as const) {
    await t.test(JSON.stringify(text), async (t) => {
      const { file, open, read } = place(t, { 'flags.json': text })
      const store = open()
      await t.rejects(store.read(), { code: 'FST_FLAGS_STORE_DAMAGED', message })
      await t.rejects(store.write({ kind: 'flag', key: 'b', document: doc(1), expected: 0, epoch: null, by: null, id: randomUUID() }), { code: 'FST_FLAGS_STORE_DAMAGED' })
      t.equal(await read(), text)
      await writeFile(file, '{ "flags": { "a": { "tags": ["1"] } } }')
      t.same(await documents(store), { a: doc(1) })
    })
  }
})

t.test('an edit that is no valid flag is refused whole with the field and how to mend it, and taken over once it is mended', async (t) => {
  const { open, file } = place(t, { 'flags.json': '{ "flags": { "a": { "enabled": true } } }' })
  const store = open()
  const before = await documents(store)
  await writeFile(file, '{ "flags": { "a": { "enabeld": false }, "b": { "enabled": true, "serve": "blue" } } }')
  const refused = async () => await store.read().then(() => '', (error: Error) => error.message)
  await until(async () => await refused() !== '')
  t.match(await refused(), /\/flags\/a\/enabeld .*enabled.*\/flags\/b\/serve .*blue/s)
  await t.rejects(put(store, 'c', '{"enabled":true}'), { code: 'FST_FLAGS_STORE_DAMAGED' })
  await writeFile(file, '{ "flags": { "a": { "enabled": false }, "b": { "enabled": true } } }')
  await until(async () => await refused() === '')
  t.same(before, { a: '{"enabled":true}' })
  t.same(await documents(store), { a: '{"enabled":false}', b: '{"enabled":true}' })
})

t.test('a file damaged while it runs keeps the last good, is reported, refuses writes and heals', async (t) => {
  const { file, open, read } = place(t, { 'flags.json': '{ "flags": { "a": { "tags": ["1"] } } }' })
  const store = open()
  let problems = 0
  let epoch: string | null = (await store.read()).position.epoch
  store.watch(() => { store.read().then(({ position }) => { epoch = position.epoch }, () => { problems++ }) })
  await writeFile(file, '{ "flags": { "a": ')
  await until(async () => problems > 0)
  await t.rejects(store.read(), { code: 'FST_FLAGS_STORE_DAMAGED', message: /line 1/ })
  await t.rejects(store.write({ kind: 'flag', key: 'a', document: doc(2), expected: 1, epoch, by: null, id: randomUUID() }), { code: 'FST_FLAGS_STORE_DAMAGED' })
  t.equal(await read(), '{ "flags": { "a": ')
  await rm(file)
  await t.rejects(store.read(), { message: /is gone/ })
  await writeFile(file, '{ "flags": { "a": { "tags": ["5"] } } }')
  t.same(await documents(store), { a: doc(5) })
})

t.test('a file that is gone while its log is there is not replaced by an empty one', async (t) => {
  const { file, open } = place(t)
  const store = open()
  await put(store, 'a', doc(1))
  await store.close()
  await rm(file)
  await t.rejects(open().read(), { code: 'FST_FLAGS_STORE_DAMAGED', message: /is gone/ })
})

t.test('a write that was killed before it reached the file is dropped at open', async (t) => {
  const { log, open, read } = place(t)
  const first = open()
  await put(first, 'a', doc(1))
  await first.close()
  const before = await read()
  const line = (version: number) => JSON.stringify({ version, time: 1, kind: 'flag', key: 'a', by: 'x', document: doc(2), token: 't', id: 'i' })
  for (const end of [line(2) + '\n', line(2) + '\n' + line(3).slice(0, 30), line(2).slice(0, 20)]) {
    await appendFile(log, end)
    const store = open()
    t.same(await changesOf(store), [[1, 'a', 'alice', doc(1)]])
    t.equal(await read(), before)
    await store.close()
  }
  const last = open()
  t.equal((await put(last, 'a', doc(3), { expected: 1 })).version, 2)
})

t.test('a write that was killed after it reached the file is kept at open', async (t) => {
  const { log, open } = place(t)
  const first = open()
  await put(first, 'a', doc(1))
  await put(first, 'a', doc(2), { expected: 1 })
  await first.close()
  const lines = (await readFile(log, 'utf8')).trimEnd().split('\n')
  t.match(lines.at(-1), '{"applied":2}')
  await writeFile(log, lines.slice(0, -1).join('\n') + '\n')
  t.same(await changesOf(open()), [[1, 'a', 'alice', doc(1)], [2, 'a', 'alice', doc(2)]])
})

t.test('a log that is damaged inside is refused with its line; without it the flags begin a new history', async (t) => {
  const { log, open } = place(t)
  const first = open()
  await put(first, 'a', doc(1))
  await put(first, 'a', doc(2), { expected: 1 })
  const { epoch } = (await first.read()).position
  await first.close()
  const lines = (await readFile(log, 'utf8')).split('\n')
  await writeFile(log, lines.with(1, '{"version":').join('\n'))
  await t.rejects(open().read(), { code: 'FST_FLAGS_STORE_DAMAGED', message: /flags\.json\.log:2:/ })
  await rm(log)
  await rm(`${log.slice(0, -4)}.lock`, { force: true })
  const anew = open()
  t.same(await changesOf(anew), [[1, 'a', 'file', doc(2)]])
  t.not((await anew.read()).position.epoch, epoch)
})

t.test('a log that is removed while it runs is written again with the next change', async (t) => {
  const { log, open } = place(t)
  const store = open()
  await put(store, 'a', doc(1))
  await rm(log)
  await put(store, 'b', doc(2))
  await store.close()
  t.same(await changesOf(open()), [[1, 'a', 'alice', doc(1)], [2, 'b', 'alice', doc(2)]])
})

t.test('a compacted log keeps the last entries, and every version', async (t) => {
  const { log, open } = place(t)
  const store = open(5)
  await put(store, 'old', '"old"')
  await put(store, 'gone', doc(1))
  await put(store, 'gone', null, { expected: 2 })
  for (let i = 0; i < 20; i++) await put(store, `a${i}`, doc(1))
  const reading = await store.read()
  await store.close()
  t.ok((await readFile(log, 'utf8')).split('\n').length < 60)
  const again = open(5)
  const { changes, beginsAt } = await again.history({ limit: 100 })
  t.same([beginsAt, changes.length], [19, 5])
  const found = await again.read()
  t.same(found.position, reading.position)
  t.equal((await documentsOf(found)).find(({ key }) => key === 'old')?.version, 1)
  t.equal((await put(again, 'gone', doc(2))).version, 24)
})

t.test('one process writes, others follow and say so, and one takes over when it is gone', async (t) => {
  const { open } = place(t)
  const writer = open()
  await put(writer, 'a', doc(1))
  const follower = open()
  t.same(await documents(follower), { a: doc(1) })
  await t.rejects(put(follower, 'b', doc(2)), { code: 'FST_FLAGS_READ_ONLY', message: new RegExp(`process ${process.pid}`) })
  await put(writer, 'b', doc(2))
  t.same(await documents(follower), { a: doc(1), b: doc(2) })
  const { position } = await follower.read()
  await writer.close()
  t.equal((await put(follower, 'c', doc(3))).version, 3)
  t.equal((await follower.read(position)).kind, 'changes')
})

t.test('a symbolic link stays one', async (t) => {
  const folder = makeFolder(t, { real: { 'flags.json': '{ "flags": {} }' } })
  const link = join(folder, 'flags.json')
  await symlink(join(folder, 'real', 'flags.json'), link)
  const store = new FileStore({ file: link })
  t.teardown(() => store.close())
  await put(store, 'a', doc(1))
  t.ok((await lstat(link)).isSymbolicLink())
  t.same(JSON.parse(await readFile(join(folder, 'real', 'flags.json'), 'utf8')), { flags: { a: { tags: ['1'] } } })
})

t.test('a path that cannot be used is unavailable, with the reason', async (t) => {
  const folder = makeFolder(t, { file: '' })
  const store = new FileStore({ file: join(folder, 'file', 'flags.json') })
  t.teardown(() => store.close())
  await t.rejects(store.read(), { code: 'FST_FLAGS_STORE_UNAVAILABLE', message: /ENOTDIR|EEXIST/ })
  t.throws(() => new FileStore({ file: '' }), { code: 'FST_FLAGS_INVALID_OPTION' })
})
