import { chmod, mkdir, readFile, readdir, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import flags, { type FlagsOptions } from '../../src/index.js'
import { healthRoutes } from '../../src/routes/health.js'
import { asked, askWithoutPause } from '../helpers/answers.js'
import { startCli } from '../helpers/cli.js'
import { makeFolder } from '../helpers/folder.js'
import { logs } from '../helpers/logs.js'
import { within } from '../helpers/promised.js'
import { startNode, type Node } from '../helpers/redis-node.js'
import { until } from '../helpers/until.js'

const nowhere = 'redis://127.0.0.1:1'

async function build (t: Test, options: FlagsOptions) {
  const { stream, lines } = logs()
  const app: FastifyInstance = Fastify({ logger: { stream } })
  t.teardown(() => app.close())
  const begun = performance.now()
  await app.register(flags, options)
  await app.register(healthRoutes)
  app.get('/', async (request) => request.flags.getAll())
  await app.ready()
  const took = performance.now() - begun
  const readyz = async () => {
    const response = await app.inject('/readyz')
    return { code: response.statusCode, ...response.json() }
  }
  const warnings = () => lines().filter(({ level }) => level === 40).map(({ msg }) => msg)
  return { app, flags: app.flags, lines, warnings, readyz, took }
}

/** Holds an app to the promise that it serves within a second, whatever Redis does. */
async function servesWithinASecond (t: Test, first: number, options: FlagsOptions): Promise<void> {
  let took: number | undefined = first
  await within(t, { serving: 1000 }, async () => {
    const serving = took ?? (await build(t, options)).took
    took = undefined
    return { serving }
  })
}

/** A snapshot file that an app wrote while Redis was there. */
async function leave (t: Test, node: Node, options: FlagsOptions = {}) {
  const snapshotFile = join(makeFolder(t), 'flags.snapshot')
  const { app } = await build(t, { redis: node.url, snapshotFile, ...options })
  await app.flags.admin.import({ segments: { eu: { when: { attribute: 'region', operator: 'eq', value: 'eu' } } }, flags: asked })
  await app.flags.admin.put('new', { enabled: true, serve: 'on', rules: [{ when: { segment: 'eu' }, serve: 'off' }] }, { by: 'a\tlice\n' })
  const answers = (await app.inject('/')).json()
  const { revision } = app.flags
  await app.close()
  return { snapshotFile, answers, revision }
}

for (const [state, signal] of [['dead', 'SIGKILL'], ['frozen', 'SIGSTOP']] as const) {
  t.test(`11: boot with Redis ${state}: what snapshotFile holds is served within 1 s, STALE, and it recovers by itself`, async (t) => {
    const node = await startNode(t)
    if (node === undefined) return
    const { snapshotFile, answers, revision } = await leave(t, node)
    t.equal((await stat(snapshotFile)).mode & 0o777, 0o600, 'nobody else may read it')
    node.signal(signal)

    const { app, flags, readyz, warnings, lines, took } = await build(t, { redis: node.url, snapshotFile })
    await servesWithinASecond(t, took, { redis: node.url, snapshotFile })
    t.same((await app.inject('/')).json(), answers)
    t.equal(flags.for({ targetingKey: 'u', region: 'eu' }).isEnabled('new'), false)
    t.match(flags, { status: 'STALE', revision })
    t.ok(flags.staleSeconds !== null && flags.staleSeconds < 60)
    t.match(await readyz(), { code: 200, status: 'STALE', staleSeconds: Number })
    t.match(warnings().filter((msg) => msg.includes('starting with the flags of the snapshot file, as of 20')), [String])
    t.equal(await flags.admin.put('new', { enabled: false }).then(() => 200, ({ statusCode }) => statusCode), 503)
    const asking = askWithoutPause(t, flags)

    if (signal === 'SIGKILL') await node.restart()
    else node.signal('SIGCONT')
    await until(() => flags.status === 'READY') // rows 1 and 2 hold how soon
    await asking.end()
    t.equal(lines().filter(({ msg }) => msg.includes('in sync with the store')).length, 1)
    t.equal(flags.staleSeconds, null)
    t.equal(flags.problem, null)
    await flags.admin.put('new', { enabled: false })
  })
}

t.test('11: boot without Redis and without a snapshot file: bootstrap or defaults, /readyz 503 for these, and it recovers by itself', async (t) => {
  const node = await startNode(t)
  if (node === undefined) return
  await leave(t, node)
  node.signal('SIGKILL')
  const snapshotFile = join(makeFolder(t), 'not', 'there', 'yet')
  const plain = await build(t, { redis: node.url, snapshotFile })
  const bootstrapped = await build(t, { redis: node.url, snapshotFile, bootstrap: { flags: { new: { enabled: false } } } })
  for (const { took } of [plain, bootstrapped]) await servesWithinASecond(t, took, { redis: node.url })
  t.match(await plain.readyz(), { code: 503, status: 'NOT_READY' })
  t.match(await bootstrapped.readyz(), { code: 200, status: 'STALE' })
  t.equal(plain.flags.for('u').isEnabled('new', true), true, 'the caller\'s default')
  t.equal(plain.flags.for('u').isEnabled('new'), false)
  t.equal(bootstrapped.flags.for('u').getDetails('new', true).reason, 'DISABLED', 'what bootstrap says')
  t.same([plain, bootstrapped].map(({ warnings }) => warnings().filter((msg) => msg.includes('snapshot')).length), [0, 0], 'a file that is not there yet is no trouble')
  await node.restart()
  await until(() => [plain, bootstrapped].every(({ flags }) => flags.status === 'READY'))
  t.match(await plain.readyz(), { code: 200, status: 'READY' })
  t.equal(bootstrapped.flags.for('u').isEnabled('new'), true)
})

t.test('11: a damaged snapshot file is ignored with a warning, and replaced once there is something to put there', async (t) => {
  const node = await startNode(t)
  if (node === undefined) return
  const { snapshotFile, answers } = await leave(t, node)
  const good = await readFile(snapshotFile)
  const damaged: Record<string, Buffer> = {
    empty: Buffer.alloc(0),
    zeros: Buffer.alloc(good.length),
    'something else': Buffer.from('{"flags":{}}\n'),
    'another text': Buffer.from('hello\nworld'),
    twice: Buffer.concat([good, good])
  }
  for (const part of [0.1, 0.3, 0.5, 0.7, 0.9]) {
    const at = Math.floor(good.length * part)
    damaged[`cut at ${part}`] = good.subarray(0, at)
    const flipped = Buffer.from(good)
    flipped[at]! ^= 1
    damaged[`flipped at ${part}`] = flipped
  }
  await Promise.all(Object.entries(damaged).map(async ([what, bytes], i) => {
    const file = `${snapshotFile}-${i}`
    await writeFile(file, bytes)
    const { flags, warnings, app } = await build(t, { redis: nowhere, snapshotFile: file })
    t.equal(flags.status, 'NOT_READY', what)
    t.equal(warnings().filter((msg) => msg.includes(`${file} is ignored`)).length, 1, 'said once')
    await app.close()
    t.same(await readFile(file), bytes, 'it is left for who wants to look at it')
  }))
  await writeFile(snapshotFile, good)
  const stranger = await build(t, { redis: nowhere, snapshotFile, namespace: 'another' })
  t.equal(stranger.flags.status, 'NOT_READY')
  t.match(stranger.warnings().join(), /it is of the namespace flags, not another/)

  await writeFile(snapshotFile, 'damaged')
  const mended = await build(t, { redis: node.url, snapshotFile })
  await until(() => mended.flags.status === 'READY')
  await mended.app.close()
  const { app, flags } = await build(t, { redis: nowhere, snapshotFile })
  t.equal(flags.status, 'STALE')
  t.same((await app.inject('/')).json(), answers)
})

t.test('11: what was left on disk is never put back into an emptied store, but served', async (t) => {
  const node = await startNode(t)
  if (node === undefined) return
  const { snapshotFile, answers } = await leave(t, node)
  const file = await readFile(snapshotFile)
  await node.client.flushall()
  const { app, flags } = await build(t, { redis: node.url, snapshotFile, admin: { tokens: { alice: 'alice-0123456789abcdef' } } })
  await until(() => flags.problem?.code === 'FST_FLAGS_STORE_EMPTIED')
  await pause(1500)
  t.same(await node.client.dbsize(), 0)
  t.match([flags.status, flags.problem?.code], ['STALE', 'FST_FLAGS_STORE_EMPTIED'])
  t.same((await app.inject('/')).json(), answers)
  await app.close()
  t.same(await readFile(snapshotFile), file)
})

t.test('11: the snapshot file follows the flags, a second late at most, whole at any moment; strays are cleaned', async (t) => {
  const node = await startNode(t)
  if (node === undefined) return
  const folder = makeFolder(t, { 'flags.snapshot.01234567-89ab-cdef-0123-456789abcdef.tmp': 'half', other: 'mine' })
  const snapshotFile = join(folder, 'flags.snapshot')
  const { app, flags } = await build(t, { redis: node.url, snapshotFile })
  t.same(await readdir(folder), ['other'])
  for (let i = 0; i < 20; i++) await flags.admin.put(`flag-${i}`, { enabled: true })
  await until(async () => (await readFile(snapshotFile, 'utf8').catch(() => '')).includes('flag-19'))
  const reader = await build(t, { redis: nowhere, snapshotFile })
  t.equal(reader.flags.for('u').isEnabled('flag-19'), true)
  await reader.app.close()
  await flags.admin.delete('flag-19')
  await app.close()
  t.notMatch(await readFile(snapshotFile, 'utf8'), 'flag-19', 'what was last known is written at the end')
  t.same((await readdir(folder)).sort(), ['flags.snapshot', 'other'])

  if (process.getuid?.() !== 0) {
    const locked = join(folder, 'locked')
    await mkdir(locked)
    await chmod(locked, 0o500)
    const unable = await build(t, { redis: node.url, snapshotFile: join(locked, 'flags.snapshot') })
    await until(() => unable.warnings().some((msg) => /cannot be written/.test(msg)))
    t.equal(unable.flags.status, 'READY')
    await unable.app.close()
  }
})

t.test('11: stages stand where the store was last in sync, however old the file', async (t) => {
  const node = await startNode(t)
  if (node === undefined) return
  const snapshotFile = join(makeFolder(t), 'flags.snapshot')
  const { app, flags } = await build(t, { redis: node.url, snapshotFile })
  const later = new Date(Date.now() + 3_600_000).toISOString()
  await flags.admin.put('staged', { enabled: true, serve: { stages: [{ percentage: 0 }, { percentage: 100, at: later }] } })
  await app.close()
  const booted = async () => {
    const { app, flags } = await build(t, { redis: nowhere, snapshotFile })
    const { staleSeconds } = flags
    const on = flags.for('u').isEnabled('staged')
    await app.close()
    return [on, Math.round(staleSeconds! / 3600)]
  }
  const { now } = Date
  t.teardown(() => { Date.now = now })
  Date.now = () => now() + 7_200_000
  t.same(await booted(), [false, 2], 'two hours later nobody could have stopped it')
  await utimes(snapshotFile, (now() + 7_000_000) / 1000, (now() + 7_000_000) / 1000)
  t.same(await booted(), [true, 0], 'it was in sync until then')
})

t.test('11: the sidecar takes --snapshot-file and FLAGS_SNAPSHOT_FILE', async (t) => {
  const node = await startNode(t)
  if (node === undefined) return
  const { snapshotFile, answers } = await leave(t, node)
  node.signal('SIGKILL')
  const sidecar = startCli(t, ['serve', '--redis', node.url, '--port', '0'], { env: { FLAGS_SNAPSHOT_FILE: snapshotFile } })
  const url = await sidecar.url
  t.match(await (await fetch(`${url}/flags/new/evaluate?user=u`)).json(), { enabled: answers.new })
  t.match(await (await fetch(`${url}/readyz`)).json(), { status: 'STALE' })
  await node.restart()
  await until(async () => ((await (await fetch(`${url}/readyz`)).json()) as { status: string }).status === 'READY')
  t.equal(await sidecar.end(), 0)
})
