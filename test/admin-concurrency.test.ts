import t, { type Test } from 'tap'
import { Admin } from '../src/admin.js'
import { Replica } from '../src/replica.js'
import { Memory, MemoryStore } from '../src/store/memory.js'
import { RedisStore } from '../src/store/redis.js'
import type { Store } from '../src/store/store.js'
import { startRedis } from './helpers/redis.js'

/** Several processes over one store, each with its own replica. */
async function startAdmins (t: Test, count: number, open: () => Store): Promise<Admin[]> {
  return await Promise.all(Array.from({ length: count }, async () => {
    const replica = new Replica({ store: open() })
    t.teardown(() => replica.close())
    await replica.start()
    return new Admin(replica)
  }))
}

const stores: Record<string, (t: Test) => Promise<() => Store>> = {
  memory: async () => {
    const memory = new Memory()
    return () => new MemoryStore(memory)
  },
  Redis: async (t) => {
    const { url, namespace } = await startRedis(t)
    return () => new RedisStore({ redis: url, namespace })
  }
}

for (const [name, prepare] of Object.entries(stores)) {
  t.test(`over ${name}`, async (t) => {
    t.test('of many who replace the same version at once exactly one succeeds, and the others are told', async (t) => {
      const admins = await startAdmins(t, 4, await prepare(t))
      await admins[0]!.put('a', { description: 'first' })
      const outcomes = await Promise.allSettled(admins.flatMap((admin, process) => [0, 1, 2].map(async (nth) =>
        await admin.put('a', { description: `by ${process}.${nth}` }, { version: 1, by: `${process}.${nth}` }))))
      const won = outcomes.filter((outcome) => outcome.status === 'fulfilled')
      t.equal(won.length, 1)
      for (const outcome of outcomes) if (outcome.status === 'rejected') t.match(outcome.reason, { code: 'FST_FLAGS_VERSION_CONFLICT', statusCode: 412 })
      t.equal((await admins[3]!.changes()).changes.length, 2, 'nothing else was ever written')
      const winner = won[0]?.status === 'fulfilled' ? won[0].value.flag : undefined
      t.equal(winner!.description, `by ${winner!.updatedBy}`)
    })

    t.test('of many who create the same flag at once exactly one does', async (t) => {
      const admins = await startAdmins(t, 4, await prepare(t))
      const outcomes = await Promise.allSettled(admins.map(async (admin) => await admin.put('a', {}, { version: 0 })))
      t.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
      t.ok(outcomes.every((outcome) => outcome.status === 'fulfilled' || outcome.reason.code === 'FST_FLAGS_VERSION_CONFLICT'), 'also when the store was never written to')
    })

    t.test('changes without a version all take effect, one upon the other', async (t) => {
      const admins = await startAdmins(t, 4, await prepare(t))
      await admins[0]!.put('a', { enabled: true, serve: 'off' })
      await Promise.all(admins.flatMap((admin, process) => [0, 1].map(async (nth) => await admin.changeTargets('a', { add: { users: [`u${process}.${nth}`] } }))))
      await Promise.all(admins.map(async (admin, process) => await admin.patch('a', { metadata: { [`by${process}`]: true } })))
      const flag = (await admins[0]!.history('a', { limit: 1 })).history[0]!.flag!
      t.same([...flag.targets![0]!.users!].sort(), ['u0.0', 'u0.1', 'u1.0', 'u1.1', 'u2.0', 'u2.1', 'u3.0', 'u3.1'])
      t.equal((await admins[0]!.changes({ limit: 1000 })).changes.length, 1 + 8 + 4)
    })

    t.test('fifty changes at once in one process, while another changes too, all take effect', async (t) => {
      const [one, two] = await startAdmins(t, 2, await prepare(t))
      await one!.put('a', { enabled: true, serve: 'off' })
      await Promise.all(Array.from({ length: 50 }, async (_, i) => await (i % 10 === 0 ? two! : one!).changeTargets('a', { add: { users: [`u${i}`] } })))
      t.equal((await one!.history('a', { limit: 1 })).history[0]!.flag!.targets![0]!.users!.length, 50)
    })

    t.test('a kill switch thrown while others edit stays thrown', async (t) => {
      const admins = await startAdmins(t, 3, await prepare(t))
      await admins[0]!.put('a', { enabled: true, description: '0' })
      const edits = Promise.all([0, 1, 2].map(async (nth) => await admins[1]!.patch('a', { description: `${nth}` })))
      const targets = admins[2]!.patch('a', { owner: 'x' })
      await admins[0]!.disable('a')
      await Promise.all([edits, targets])
      const { flag } = (await admins[0]!.history('a', { limit: 1 })).history[0]!
      t.match(flag, { enabled: false, owner: 'x' })
    })

    t.test('four who answer to the same moment advance a rollout once, and without saying from where each by one step', async (t) => {
      const admins = await startAdmins(t, 4, await prepare(t))
      await admins[0]!.put('a', { enabled: true, serve: { stages: Array.from({ length: 40 }, (_, i) => ({ percentage: i })) } })
      for (let from = 0; from < 20; from++) {
        const outcomes = await Promise.allSettled(admins.map(async (admin) => await admin.advance('a', { from })))
        t.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
        for (const outcome of outcomes) if (outcome.status === 'rejected') t.match(outcome.reason, { code: 'FST_FLAGS_ROLLOUT_CONFLICT', statusCode: 409 })
      }
      await Promise.all(admins.map(async (admin) => await admin.advance('a')))
      t.match((await admins[0]!.history('a', { limit: 1 })).history[0]!.flag, { serve: { state: { stage: 24 } } })
    })

    t.test('of 1,000 advances that race a kill switch none undoes it', async (t) => {
      const admins = await startAdmins(t, 4, await prepare(t))
      const [operator] = admins
      let refused = 0
      let undone = 0
      await Promise.all(Array.from({ length: 10 }, async (_, nth) => {
        const key = `flag${nth}`
        for (let round = 0; round < 25; round++) {
          await operator!.put(key, { enabled: true, serve: { stages: Array.from({ length: 8 }, (_, i) => ({ percentage: (i * 100 + round) / 10 })) } })
          const wishes = admins.map((admin) => async () => await admin.advance(key))
          wishes.splice(round % 5, 0, async () => await operator!.disable(key))
          const outcomes = await Promise.allSettled(wishes.map(async (wish) => await wish()))
          for (const outcome of outcomes) {
            if (outcome.status === 'fulfilled') continue
            refused++
            if (outcome.reason.code !== 'FST_FLAGS_ROLLOUT_CONFLICT') throw outcome.reason
          }
          const { flag } = (await operator!.history(key, { limit: 1 })).history[0]!
          if (flag!.enabled !== false) undone++
        }
      }))
      t.equal(undone, 0)
      t.comment(`${1000 - refused} came before the switch, ${refused} were refused after it`)
    })

    t.test('the writer\'s own process serves what it wrote as soon as the promise resolves; a change decides on what is there', async (t) => {
      const [one, two] = await startAdmins(t, 2, await prepare(t))
      for (let i = 0; i < 20; i++) {
        const { flag } = await one!.put('a', { description: `${i}` })
        t.same(one!.get('a'), flag)
        // What the other process has not heard of yet counts already: it may not take this for no change.
        await two!.put('a', { description: `${i - 1}` })
        t.equal(two!.get('a').description, `${i - 1}`)
      }
      await one!.put('needed', {})
      t.match(await two!.put('b', { enabled: true, prerequisites: [{ flag: 'needed' }] }), { created: true })
      await t.rejects(one!.delete('needed'), { code: 'FST_FLAGS_IN_USE' })
    })

    t.end()
  })
}
