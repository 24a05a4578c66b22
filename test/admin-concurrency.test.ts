import t, { type Test } from 'tap'
import { Admin } from '../src/admin.js'
import { noteEnough, stopRollout } from '../src/admin/guarded.js'
import { Writer } from '../src/admin/writer.js'
import { guardedServesOf, type GuardedRollout } from '../src/model/guard.js'
import type { Draw } from '../src/model/serve.js'
import { Replica } from '../src/replica.js'
import { Memory, MemoryStore } from '../src/store/memory.js'
import { RedisStore } from '../src/store/redis.js'
import type { Store } from '../src/store/store.js'
import { startRedis } from './helpers/redis.js'

/** Several processes over one store, each with its own replica. */
async function startReplicas (t: Test, count: number, open: () => Store): Promise<Replica[]> {
  return await Promise.all(Array.from({ length: count }, async () => {
    const replica = new Replica({ store: open() })
    t.teardown(() => replica.close())
    await replica.start()
    return replica
  }))
}

async function startAdmins (t: Test, count: number, open: () => Store): Promise<Admin[]> {
  return (await startReplicas(t, count, open)).map((replica) => new Admin(replica))
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

    t.test('of 1,000 guards that stop a rollout, or have seen enough of it, while a person changes it, one does it and none undoes what the person did', async (t) => {
      const replicas = await startReplicas(t, 4, await prepare(t))
      const admins = replicas.map((replica) => new Admin(replica))
      const operator = admins[3]!
      const guards = replicas.slice(0, 3).map((replica) => {
        const [writer, now] = [new Writer(replica), () => replica.now()]
        return {
          stop: async (rollout: GuardedRollout) => await stopRollout(writer, rollout, 1, { metric: 'errors', stage: 1, at: '2026-01-01T00:00:00.000Z', chance: 0.001, control: { count: 1, of: 500 }, treated: { count: 20, of: 500 } }, now),
          enough: async (rollout: GuardedRollout) => await noteEnough(writer, rollout, 1, now)
        }
      })
      let stops = 0
      await Promise.all(Array.from({ length: 10 }, async (_, nth) => {
        const key = `flag${nth}`
        for (let round = 0; round < 25; round++) {
          await operator.put(key, { enabled: true, serve: { stages: [0, 1, 2, 3].map((i) => ({ percentage: i * 20 + (round + 1) / 10, hours: 1 })), guard: { errors: {}, action: round % 2 === 0 ? 'rollback' : 'pause' } } })
          const { rollout } = guardedServesOf(key, await operator.advance(key), '')[0]!
          const { version } = operator.get(key)
          const person = ['advance', 'disable', 'pause', 'rollback'][round % 4] as 'advance' | 'disable' | 'pause' | 'rollback'
          let refused = 0
          const wishes: Array<() => Promise<unknown>> = [async () => await guards[0]!.stop(rollout), async () => await guards[1]!.stop(rollout), async () => await guards[2]!.enough(rollout)]
          wishes.splice(round % 4, 0, async () => {
            await operator[person](key).catch((error: { code?: string }) => {
              if (person !== 'advance' || error.code !== 'FST_FLAGS_ROLLOUT_CONFLICT') throw error
              refused++
            })
          })
          const done = await Promise.all(wishes.map(async (wish) => await wish()))
          const writes = (await operator.history(key)).history.filter(({ version: later }) => later > version)
          const byGuard = writes.filter(({ updatedBy }) => updatedBy === 'guard')
          const stopped = byGuard.filter(({ flag }) => (flag!.serve as Draw).state!.alarm !== undefined)
          if (byGuard.length !== done.filter((done) => done === true).length || stopped.length > 1) throw new Error(`${byGuard.length} writes, ${done.join(' ')}`)
          stops += stopped.length
          const { enabled, serve } = writes[0]!.flag!
          const { stage, pausedAt, disabledAt } = (serve as Draw).state!
          const isStopped = stopped.length > 0
          const rolledBack = isStopped && round % 2 === 0 ? 1 : 0
          if (enabled !== (disabledAt === undefined) || (person === 'disable' && enabled !== false)) throw new Error('the switch was undone')
          if ((isStopped || person === 'pause' || person === 'rollback') && enabled === true && pausedAt === undefined) throw new Error('what was stopped goes on')
          if (person === 'advance' && refused !== (isStopped ? 1 : 0)) throw new Error('an advance undid what the guard did, or the guard came after it')
          const expected = 1 - rolledBack + (person === 'advance' ? 1 - refused : person === 'rollback' ? -1 : 0)
          if (stage !== Math.max(0, expected)) throw new Error(`${person} and ${stopped.length} stops end at stage ${stage}`)
        }
      }))
      t.ok(stops > 0)
      t.comment(`${stops} of 250 rollouts were stopped before the person came`)
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
