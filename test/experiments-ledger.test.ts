import { appendFile, mkdir, mkdtemp, readFile, rename, rm, rmdir, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deepStrictEqual as strictSame } from 'node:assert'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { FileLedger } from '../src/experiments/file.js'
import type { Ledger } from '../src/experiments/ledger.js'
import { MemoryLedger } from '../src/experiments/memory.js'
import { RedisLedger } from '../src/experiments/redis.js'
import { additionOf, batchOf, claimOf, converted, exposed, ledgerContract, patient, someExperiment } from './helpers/ledger-contract.js'
import { emptyNamespace, startRedis } from './helpers/redis.js'

async function folder (t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'fastify-flags-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  return path
}

function open (t: Test, ledger: Ledger): Ledger {
  t.teardown(() => ledger.close())
  return ledger
}

t.test('in memory', async (t) => {
  await ledgerContract(t, () => ({ open: () => new MemoryLedger(), shared: false, keeps: false }))
})

t.test('in a file', async (t) => {
  await ledgerContract(t, async () => {
    const path = join(await folder(t), 'flags.json.experiments')
    return { open: () => new FileLedger(path), shared: false, keeps: true }
  })
})

t.test('of a file\'s ledgers one counts, whoever comes later is refused and takes over when it is gone', async (t) => {
  const path = join(await folder(t), 'flags.json.experiments')
  const experiment = someExperiment()
  const first = open(t, new FileLedger(path))
  const second = open(t, new FileLedger(path))
  await first.record(batchOf(experiment, { exposures: [exposed('u1', 'a')] }))
  const batch = batchOf(experiment, { exposures: [exposed('u2', 'a')] })
  await t.rejects(second.record(batch), { code: 'FST_FLAGS_READ_ONLY' })
  t.equal((await second.read(experiment)).variants.a!.units, 1, 'it can be read there too')
  await first.close()
  await second.record(batch)
  t.equal((await second.read(experiment)).variants.a!.units, 2)
})

t.test('a file is counted by the process that writes the flags, whoever comes first, and by another once that one writes them', async (t) => {
  const path = join(await folder(t), 'flags.json.experiments')
  const experiment = someExperiment()
  const follows = [false, true]
  const [first, second] = follows.map((_, i) => open(t, new FileLedger(path, () => follows[i]!))) as [Ledger, Ledger]
  const batch = batchOf(experiment, { exposures: [exposed('u1', 'a')] })
  await t.rejects(second.record(batch), { code: 'FST_FLAGS_READ_ONLY' })
  await first.record(batch)
  t.equal((await second.read(experiment)).variants.a!.units, 1, 'it can be read there too')
  follows.reverse()
  const later = batchOf(experiment, { exposures: [exposed('u2', 'a')] })
  await t.rejects(first.record(later), { code: 'FST_FLAGS_READ_ONLY' })
  await second.record(later)
  t.equal((await second.read(experiment)).variants.a!.units, 2)
})

t.test('a file holds no name of a unit, survives a line that was cut off, and is never taken for empty when it is damaged', async (t) => {
  const path = join(await folder(t), 'flags.json.experiments')
  const experiment = someExperiment()
  const ledger = new FileLedger(path)
  await ledger.record(batchOf(experiment, { exposures: [exposed('alice@example.com', 'a', undefined, 'event-of-alice')], conversions: [converted('alice@example.com', 'buy')] }))
  const counts = await ledger.read(experiment)
  await ledger.close()
  t.notMatch(await readFile(path, 'utf8'), 'alice')
  await appendFile(path, '{"of":"x","batch":"half')
  const again = open(t, new FileLedger(path))
  t.strictSame(await again.read(experiment), counts)
  await again.record(batchOf(experiment, { exposures: [exposed('bob', 'a')] }))
  t.equal((await open(t, new FileLedger(path)).read(experiment)).variants.a!.units, 2)
  await again.close()
  await appendFile(path, 'x\n')
  const damaged = open(t, new FileLedger(path))
  await t.rejects(damaged.record(batchOf(experiment, {})), { code: 'FST_FLAGS_STORE_DAMAGED', message: /line 4/ })
  await t.rejects(damaged.read(experiment), { code: 'FST_FLAGS_STORE_DAMAGED' })
})

t.test('a file is written anew when it grows, with the same counts, and forgets what is over', async (t) => {
  const path = join(await folder(t), 'flags.json.experiments')
  const [experiment, old] = [someExperiment(), someExperiment()]
  const ledger = open(t, new FileLedger(path))
  const long = 100 * 86_400_000
  await ledger.record(batchOf(old, { time: Date.now() - long, exposures: [exposed('u1', 'a', Date.now() - long)] }))
  const batches = Array.from({ length: 100 }, (_, batch) => batchOf(experiment, {
    time: Date.now(),
    exposures: Array.from({ length: 100 }, (_, unit) => exposed(`u${batch % 10}-${unit}`, 'a', Date.now())),
    conversions: Array.from({ length: 100 }, (_, unit) => converted(`u${batch % 10}-${unit}`, 'buy', 2, Date.now() + 1000)),
    reads: { a: 100 }
  }))
  await ledger.add(additionOf('rollout', { a: 1 }, { time: Date.now() }))
  await ledger.add(additionOf('old', { a: 1 }, { time: Date.now() - long }))
  await ledger.claim(claimOf('rollout', ['before'], { time: Date.now() }))
  for (const batch of batches) await ledger.record(batch)
  const counts = await ledger.read(experiment)
  t.match(counts.variants.a, { units: 1000, exposures: 10_000, goals: { buy: { conversions: 1000, sum: 2000 } } })
  t.ok((await stat(path)).size < 1_200_000, 'as it was written it would be more')
  t.equal((await ledger.read(old)).variants.a!.units, 0)
  t.same([await ledger.sums('rollout'), await ledger.sums('old')], [{ a: 1 }, {}])
  await ledger.close()
  const again = open(t, new FileLedger(path))
  t.strictSame(await again.read(experiment), counts)
  t.same(await again.sums('rollout'), { a: 1 })
  t.same([...await again.claim(claimOf('rollout', ['before', 'after'], { time: Date.now() }))], ['after'])
})

t.test('in Redis', async (t) => {
  const { url, namespace } = await startRedis(t)
  await ledgerContract(t, () => ({ open: () => patient(new RedisLedger({ redis: url, namespace })), shared: true, keeps: true }))
})

t.test('Redis keeps no name of a unit, everything with an expiry, units as small as can be, and each experiment under its own tag', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  const ledger = open(t, patient(new RedisLedger({ redis: url, namespace })))
  const experiments = [someExperiment(), someExperiment()]
  for (const experiment of experiments) {
    await ledger.record(batchOf(experiment, { exposures: Array.from({ length: 500 }, (_, unit) => exposed(`alice-${unit}`, 'a', undefined, `event-${unit}-alice`)), conversions: [converted('alice-1', 'buy')], reads: { a: 1 } }))
  }
  await ledger.add(additionOf('rollout', { a: 1 }))
  await ledger.claim(claimOf('rollout', Array.from({ length: 500 }, (_, event) => `event-${event}-alice`)))
  const keys = await client.keys(`{${namespace}:x:*`)
  t.strictSame(new Set(keys.map((key) => /^\{(.*)\}/.exec(key)![1])), new Set([...experiments.map(({ id }) => id), 'rollout'].map((of) => `${namespace}:x:${of}`)))
  for (const key of keys) {
    const [ttl, type] = await Promise.all([client.ttl(key), client.type(key)])
    if (ttl < 0) t.fail(`${key} has no expiry`)
    if (type === 'hash') {
      const fields = await client.hgetallBuffer(key)
      for (const [field, value] of Object.entries(fields)) if (/alice/.test(field + value.toString('latin1'))) t.fail(`${key} names a unit`)
      if (!key.endsWith(':counts') && !/^(listpack|ziplist)$/.test(await client.object('ENCODING', key) as string)) t.fail(`${key} is not small`)
    }
  }
  const other = open(t, patient(new RedisLedger({ redis: url, namespace: `${namespace}-other` })))
  t.equal((await other.read(experiments[0]!)).variants.a!.units, 0, 'namespaces are apart')
})

t.test('when Redis has lost everything, counting begins anew', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  const ledger = open(t, patient(new RedisLedger({ redis: url, namespace })))
  const experiment = someExperiment()
  await ledger.record(batchOf(experiment, { exposures: [exposed('u1', 'a'), exposed('u2', 'a')] }))
  await emptyNamespace(client, namespace)
  await ledger.record(batchOf(experiment, { exposures: [exposed('u1', 'a')] }))
  t.equal((await ledger.read(experiment)).variants.a!.units, 1)
  const addition = additionOf('rollout', { a: 5 })
  await ledger.add(addition)
  await emptyNamespace(client, namespace)
  t.same(await ledger.sums('rollout'), {})
  t.same(await ledger.add(addition), { a: 5 }, 'what is sent again counts, as it is no longer there')
})

t.test('without a Redis a batch is refused within seconds, and nothing that waits keeps a process alive', async (t) => {
  const ledger = new RedisLedger({ redis: 'redis://user:hunter2@127.0.0.1:1' })
  const error = await ledger.record(batchOf(someExperiment(), {})).catch((error: Error) => error)
  t.match(error, { code: 'FST_FLAGS_STORE_UNAVAILABLE', message: /127\.0\.0\.1:1/ })
  t.notMatch(String(error), 'hunter2')
  await ledger.close()
  await t.rejects(ledger.record(batchOf(someExperiment(), {})), { code: 'FST_FLAGS_STORE_CLOSED' })
})

t.test('whatever is recorded, in whatever order and however often, all ledgers say the same of it', async (t) => {
  const { url, namespace } = await startRedis(t)
  const path = join(await folder(t), 'flags.json.experiments')
  const [memory, file, redis] = [open(t, new MemoryLedger()), open(t, new FileLedger(path)), open(t, patient(new RedisLedger({ redis: url, namespace })))]
  const day = 86_400_000
  const today = Math.floor(Date.now() / day) * day // what came long before it was first heard of Redis does not tell apart
  const time = fc.integer({ min: 0, max: 5 * 864_000 }).map((tenths) => today - 2 * day + 100 * tenths)
  const unit = fc.integer({ min: 0, max: 8 }).map((number) => `u${number}`)
  const variant = fc.constantFrom('a', 'b', 'c')
  const exposure = fc.record({ unit, variant, time, id: fc.option(fc.integer({ min: 0, max: 5 }).map(String), { nil: undefined }) })
  const conversion = fc.record({ unit, goal: fc.constantFrom('buy', 'visit', 'call'), value: fc.integer({ min: 0, max: 1000 }).map((value) => value / 4), time })
  const batch = fc.record({ exposures: fc.array(exposure, { maxLength: 6 }), conversions: fc.array(conversion, { maxLength: 6 }), reads: fc.dictionary(variant, fc.integer({ min: 1, max: 9 })) })
  await fc.assert(fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 6 }), fc.array(fc.nat(5), { maxLength: 4 }), fc.nat(6), fc.nat(6), async (parts, again, from, length) => {
    const experiment = someExperiment()
    const start = today + 3 * day // an hour at most: whose ids are known for longer is each ledger's own
    const batches = parts.map((part, index) => batchOf(experiment, { ...part, time: start + index * 1000 }))
    for (const one of [...batches, ...again.flatMap((index) => batches[index] ?? [])]) await Promise.all([memory, file, redis].map((ledger) => ledger.record(one)))
    const days = (number: number) => new Date(today + (number - 3) * day).toISOString().slice(0, 10)
    for (const range of [{}, { from: days(from) }, { from: days(from), to: days(from + length) }]) {
      const [expected, ...others] = await Promise.all([memory, file, redis].map((ledger) => ledger.read(experiment, range)))
      for (const counts of others) strictSame(counts, expected)
    }
  }), { numRuns: 40 })
  t.pass('they do')
})

t.test('what could not be written to a file is counted when it is sent again, and the line cut off is no damage', async (t) => {
  const path = join(await folder(t), 'flags.json.experiments')
  const experiment = someExperiment()
  const ledger = open(t, new FileLedger(path))
  await ledger.record(batchOf(experiment, { exposures: [exposed('u1', 'a')] }))
  await rename(path, path + '.aside')
  await mkdir(path) // nothing can be appended to a folder
  const batch = batchOf(experiment, { exposures: [exposed('u2', 'a')] })
  await t.rejects(ledger.record(batch), { code: 'FST_FLAGS_STORE_UNAVAILABLE', message: /cannot be written/ })
  await rmdir(path)
  await rename(path + '.aside', path)
  await appendFile(path, '{"of":"cut o')
  await ledger.record(batch)
  t.equal((await ledger.read(experiment)).variants.a!.units, 2)
})
