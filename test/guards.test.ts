import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import Fastify from 'fastify'
import t from 'tap'
import type { FlagsError } from '../src/errors.js'
import { Arm } from '../src/evaluation/arm.js'
import type { Addition, Claim, Ledger } from '../src/experiments/ledger.js'
import { MemoryLedger } from '../src/experiments/memory.js'
import { Recorder } from '../src/experiments/recorder.js'
import { RedisLedger } from '../src/experiments/redis.js'
import { FastifyFlags } from '../src/facade.js'
import { chanceOf, evidenceOf, noEvidence } from '../src/guards/evidence.js'
import { GuardWatch } from '../src/guards/watch.js'
import flags from '../src/index.js'
import { cohortOf, guardedRolloutOf, guardedServesOf, type Alarm, type Guard, type GuardedRollout } from '../src/model/guard.js'
import type { Flag } from '../src/model/flag.js'
import type { Stage } from '../src/model/serve.js'
import { Chance } from './helpers/chance.js'
import { ask, snapshotOf, subjectOf } from './helpers/evaluate.js'
import { patient } from './helpers/ledger-contract.js'
import { until } from './helpers/until.js'
import { emptyNamespace, startRedis } from './helpers/redis.js'
import { road } from './helpers/road.js'

function someRollout (guard: Guard = { errors: {} }, stages: Stage[] = [{ percentage: 50 }]): GuardedRollout {
  return guardedRolloutOf(`flag-${randomUUID()}`, 'production', undefined, { stages, guard })!
}

const armsOf = (rollout: GuardedRollout, stage = 0): { control: Arm, treated: Arm } => ({
  control: new Arm(rollout, stage, false, undefined),
  treated: new Arm(rollout, stage, true, undefined)
})

/** Processes that share a ledger: what they did, and what they told. */
class Processes {
  readonly stops: Array<{ rollout: GuardedRollout, stage: number, alarm: Alarm }> = []
  readonly enoughs: Array<{ rollout: GuardedRollout, stage: number }> = []
  readonly problems: FlagsError[] = []
  /** Whether the store is away, so that nothing can be done. */
  away = false
  now = Date.UTC(2026, 10, 20, 12)

  constructor (readonly ledger: Ledger) {}

  watch (ledger: Ledger = this.ledger, most?: number): GuardWatch {
    return new GuardWatch({
      ledger,
      most,
      now: () => this.now,
      act: {
        stop: async (rollout, stage, alarm) => {
          if (this.away) throw new Error('the store is away')
          if (this.stops.some((stop) => stop.rollout.id === rollout.id && stop.stage === stage)) return false
          this.stops.push({ rollout, stage, alarm })
          return true
        },
        enough: async (rollout, stage) => {
          if (this.away) throw new Error('the store is away')
          if (this.enoughs.some((enough) => enough.rollout.id === rollout.id && enough.stage === stage)) return false
          this.enoughs.push({ rollout, stage })
          return true
        }
      },
      report: (problem) => { this.problems.push(problem) }
    })
  }
}

/** So many requests, so many of them failed. */
function send (watch: GuardWatch, arm: Arm, requests: number, failed = 0, milliseconds = 10): void {
  for (let i = 0; i < requests; i++) watch.count([arm], i < failed, milliseconds)
}

t.test('a bet that those who are in fare worse is fair where they fare as well as is allowed', (t) => {
  const logChoose = (n: number, k: number) => { let sum = 0; for (let i = 1; i <= k; i++) sum += Math.log((n - k + i) / i); return sum }
  fc.assert(fc.property(fc.nat(60), fc.nat(60), fc.nat(120), fc.constantFrom(1, 1.5, 10), (control, treated, all, allowed) => {
    const bad = Math.min(all, control + treated)
    const [least, most] = [Math.max(0, bad - control), Math.min(bad, treated)]
    // Every way the bad ones may fall, as likely as these odds make it.
    const ways = Array.from({ length: most - least + 1 }, (_, i) => least + i)
    const weights = ways.map((k) => Math.exp(logChoose(treated, k) + logChoose(control, bad - k) + k * Math.log(allowed)))
    const total = weights.reduce((sum, weight) => sum + weight, 0)
    const expected = noEvidence.map(() => 0)
    for (const [i, k] of ways.entries()) {
      const evidence = evidenceOf({ requests: control, bad: bad - k }, { requests: treated, bad: k }, allowed)
      for (const [j, number] of evidence.entries()) expected[j]! += weights[i]! / total * Math.exp(number)
    }
    for (const value of expected) if (Math.abs(value - 1) > 1e-9) throw new Error(`it brings ${value}`)
  }))
  t.equal(chanceOf(noEvidence), 1)
  t.ok(chanceOf(evidenceOf({ requests: 100_000, bad: 1000 }, { requests: 100_000, bad: 3000 })) < 1e-100)
  t.end()
})

/** What part of the requests are of those who are in, what part of all fails, and how many times as many of theirs; up to so many of theirs, each look after so many of all. */
interface Simulation { share: (look: number) => number, bad: (look: number) => number, worse?: number, most: number, requests?: number, guard?: Guard }

/** Requests of those who are in until three processes that share a ledger, and look in turn, stop the rollout; Infinity when they do not. */
async function stoppedAfter (chance: Chance, { share, bad, worse = 1, most, requests = 240, guard = { errors: {} } }: Simulation): Promise<number> {
  const processes = new Processes(new MemoryLedger())
  const watches = Array.from({ length: 3 }, () => processes.watch())
  const { control, treated } = armsOf(someRollout(guard))
  let seen = 0
  for (let look = 0; seen < most && processes.stops.length === 0; look++) {
    const watch = watches[look % watches.length]!
    const fresh = chance.binomial(requests, share(look))
    send(watch, control, requests - fresh, chance.binomial(requests - fresh, bad(look)))
    send(watch, treated, fresh, chance.binomial(fresh, bad(look) * worse))
    seen += fresh
    await watch.flush()
    processes.now += 1_200_000
  }
  await Promise.all(watches.map((watch) => watch.close()))
  if (processes.problems.length > 0) throw processes.problems[0]
  return processes.stops.length === 0 ? Infinity : seen
}

/** In what part of so many rollouts they are stopped. */
async function partStopped (rollouts: number, chance: Chance, simulation: Simulation): Promise<number> {
  let stopped = 0
  for (let i = 0; i < rollouts; i++) if (await stoppedAfter(chance, simulation) < Infinity) stopped++
  return stopped / rollouts
}

const even = { share: () => 0.5, bad: () => 0.01, most: 8000 }

t.test('of 1,000 rollouts without a difference at most 1 % are stopped; of those that double an error rate of 1 %, 95 % are within 8,000 requests', async (t) => {
  const chance = new Chance(11)
  const stopped = await partStopped(1000, chance, even)
  t.ok(stopped <= 0.01, `without a difference: ${stopped}`)
  const caught = await partStopped(400, chance, { ...even, worse: 2 })
  t.ok(caught >= 0.95, `doubled: ${caught}`)
  const bugs = await partStopped(100, chance, { ...even, worse: 50, most: 200, requests: 20 })
  t.ok(bugs >= 0.99, `half of all fail: ${bugs}`)
  const allowed = await partStopped(100, chance, { ...even, worse: 1.5, guard: { errors: { atMost: 1.5 } } })
  t.ok(allowed <= 0.02, `as much as is allowed: ${allowed}`)
})

t.test('an outage while the share grows stops nothing', async (t) => {
  // Added up over all, those who are in had more errors: most of their requests came in the bad time.
  const growing = { share: (look: number) => look < 40 ? 0.05 : 0.5, bad: (look: number) => look < 40 ? 0.01 : 0.3, most: 3000 }
  const stopped = await partStopped(200, new Chance(12), growing)
  t.ok(stopped <= 0.01, `${stopped}`)
})

t.test('what was fine for long does not hide what fails later, at another stage or the same', async (t) => {
  const chance = new Chance(13)
  for (const [stages, days] of [[[0, 1], 0], [[0, 0], 1]] as const) {
    const processes = new Processes(new MemoryLedger())
    const watch = processes.watch()
    const rollout = someRollout({ errors: {} }, [{ percentage: 25 }, { percentage: 50 }])
    let before = 0
    for (const [time, stage] of stages.entries()) {
      processes.now += time * days * 86_400_000
      before = (await watch.standing(rollout, stage)).requests.treated
      const { control, treated } = armsOf(rollout, stage)
      for (let look = 0; look < 200 && processes.stops.length === 0; look++) {
        send(watch, control, 500, chance.binomial(500, 0.05))
        send(watch, treated, 500, chance.binomial(500, time === 0 ? 0.05 : 0.1))
        await watch.flush()
      }
    }
    t.match(processes.stops, [{ stage: stages[1], alarm: { metric: 'errors' } }])
    const requests = (await watch.standing(rollout, stages[1])).requests.treated - before
    t.ok(requests <= 3000, `after ${requests}`)
    await watch.close()
  }
})

t.test('what processes count is added up, an alarm is raised with its numbers, and the rollout stopped once', async (t) => {
  const processes = new Processes(new MemoryLedger())
  const [one, other] = [processes.watch(), processes.watch()]
  const rollout = someRollout({ errors: {}, latency: { overMs: 100 } })
  const { control, treated } = armsOf(rollout)
  for (const watch of [one, other]) {
    send(watch, control, 100, 1)
    send(watch, treated, 100, 1, 150)
    await watch.flush()
  }
  t.match(await one.standing(rollout, 0), {
    requests: { control: 200, treated: 200 },
    enough: true,
    metrics: { errors: { control: { count: 2, of: 200 }, treated: { count: 2, of: 200 }, chance: 1 }, latency: { control: { count: 0, of: 200 }, treated: { count: 200, of: 200 } } },
    alarmAt: 0.0025
  })
  t.match(processes.stops, [{ rollout, stage: 0, alarm: { metric: 'latency', stage: 0, at: '2026-11-20T12:00:00.000Z', control: { count: 0, of: 100 }, treated: { count: 100, of: 100 } } }])
  t.ok(processes.stops[0]!.alarm.chance <= 0.0025)
  await Promise.all([one.close(), other.close()])
  t.same(processes.problems, [])
})

t.test('the clock is told of a stage that it would leave, once enough was seen of it by all together', async (t) => {
  const processes = new Processes(new MemoryLedger())
  const watches = [processes.watch(), processes.watch()]
  const later = '2027-01-01T00:00:00Z'
  const rollout = someRollout({ errors: {}, minimum: 100 }, [{ percentage: 10, hours: 1 }, { percentage: 20 }, { percentage: 30 }, { percentage: 40, at: later }, { percentage: 50, hours: 1 }])
  for (const stage of [0, 1, 2, 3, 4]) {
    for (const watch of watches) {
      t.notOk(processes.enoughs.some((enough) => enough.stage === stage), 'not yet')
      send(watch, armsOf(rollout, stage).treated, 50)
      send(watch, armsOf(rollout, stage).control, 200)
      await watch.flush()
    }
    for (const watch of watches) await watch.flush()
  }
  t.same(processes.enoughs, [0, 2].map((stage) => ({ rollout, stage })))
  await Promise.all(watches.map((watch) => watch.close()))
})

t.test('what cannot be done now is tried again, what was done is not, and while there is an alarm no stage is left', async (t) => {
  const processes = new Processes(new MemoryLedger())
  const watch = processes.watch()
  const rollout = someRollout({ errors: {} }, [{ percentage: 50, hours: 1 }, { percentage: 100 }])
  const { control, treated } = armsOf(rollout)
  send(watch, control, 300)
  send(watch, treated, 300, 150)
  processes.away = true
  for (let look = 0; look < 3; look++) await watch.flush()
  t.match(processes.problems, [{ code: 'FST_FLAGS_GUARD_WAITING', message: /the store is away/ }], 'told once')
  processes.away = false
  for (let look = 0; look < 3; look++) {
    await watch.flush()
    send(watch, treated, 50, 50)
  }
  t.equal(processes.stops.length, 1)
  t.same(processes.enoughs, [])
  await watch.close()
})

/** A ledger that can be out of reach, or do what it is asked and not say so. */
class Faulty extends MemoryLedger {
  mode: 'well' | 'down' | 'silent' = 'well'
  refused = 0

  async #perhaps<T> (ask: () => Promise<T>): Promise<T> {
    if (this.mode === 'down') {
      this.refused++
      throw new Error('no connection')
    }
    const answer = await ask()
    if (this.mode === 'silent') throw new Error('no answer')
    return answer
  }

  override add = (addition: Addition) => this.#perhaps(() => super.add(addition))
  override claim = (claim: Claim) => this.#perhaps(() => super.claim(claim))
}

t.test('what was done is done again where a store comes back with data of before', async (t) => {
  const acts: string[] = []
  const act = async (what: string) => {
    acts.push(what)
    return true
  }
  const watch = new GuardWatch({
    ledger: new MemoryLedger(),
    now: () => Date.now(),
    act: { stop: async () => await act('stop'), enough: async () => await act('enough') },
    report: () => {}
  })
  t.teardown(() => watch.close())
  const rollout = someRollout({ errors: {}, minimum: 100 }, [{ percentage: 50, hours: 1 }, { percentage: 100 }])
  const again = { ...rollout } // as it is compiled from another version of its flag
  const look = async (rollout: GuardedRollout, failed: number) => {
    const { control, treated } = armsOf(rollout)
    send(watch, control, 100)
    send(watch, treated, 100, failed)
    await watch.flush()
    await watch.flush()
  }
  await look(rollout, 0)
  t.strictSame(acts.splice(0), ['enough'])
  await look(again, 0)
  t.strictSame(acts.splice(0), ['enough'])
  await look(again, 50)
  await look(again, 50)
  t.strictSame(acts.splice(0), ['stop'])
  await look({ ...rollout }, 50)
  t.strictSame(acts.splice(0), ['stop'])
})

t.test('outcomes that are reported count once by their ids, whatever becomes of the ledger meanwhile, and not when they are late', async (t) => {
  const ledger = new Faulty()
  const processes = new Processes(ledger)
  const [one, other] = [processes.watch(), processes.watch()]
  const rollout = someRollout({ errors: {}, latency: { overMs: 100 } })
  const { control, treated } = armsOf(rollout)
  for (const mode of ['down', 'silent', 'well'] as const) {
    ledger.mode = mode
    for (let i = 0; i < 700; i++) {
      for (const watch of [one, other]) watch.reported(i % 2 === 0 ? control : treated, i % 10 === 0, i % 4 === 0 ? 200 : undefined, `${mode} ${i}`, processes.now)
    }
    one.reported(control, true, 200, `${mode} 0`, processes.now)
    await Promise.all([one.flush(), other.flush()])
  }
  for (const watch of [one, other]) await watch.flush()
  t.match(await one.standing(rollout, 0), { requests: { control: 1050, treated: 1050 }, metrics: { errors: { control: { count: 210, of: 1050 } }, latency: { control: { count: 525, of: 525 }, treated: { of: 0 } } } })
  t.equal(processes.problems.length, 2, 'told once by each')
  t.throws(() => one.reported(control, true, undefined, 'late', processes.now - 3_600_001), { code: 'FST_FLAGS_EVENT_REFUSED' })
  await Promise.all([one.close(), other.close()])
  t.notOk(one.reported(control, true, undefined, 'closed', processes.now))
})

t.test('a bounded number of reported outcomes waits, further ones are refused, and that is told', async (t) => {
  const ledger = new Faulty()
  const processes = new Processes(ledger)
  const watch = processes.watch(ledger, 1000)
  const { control } = armsOf(someRollout())
  ledger.mode = 'down'
  for (let i = 0; i < 1000; i++) watch.reported(control, false, undefined, String(i), processes.now)
  t.equal(processes.problems.length, 0)
  await watch.flush()
  t.same([watch.hasRoomFor(1), watch.reported(control, false, undefined, 'more', processes.now)], [false, false])
  watch.reported(control, false, undefined, 'and more', processes.now)
  t.same([watch.waiting, watch.dropped], [1000, 2])
  ledger.mode = 'well'
  await watch.flush()
  t.ok(watch.hasRoomFor(1000))
  t.same([watch.waiting, watch.dropped], [0, 2])
  t.match(processes.problems, [{ code: 'FST_FLAGS_GUARD_WAITING' }, { code: 'FST_FLAGS_OUTCOMES_LOST' }])
  t.equal(processes.problems.length, 2)
  await watch.close()
})

t.test('closing sends what there is, acts on nothing, and tells what was lost', async (t) => {
  const ledger = new Faulty()
  const processes = new Processes(ledger)
  const rollout = someRollout()
  const { control, treated } = armsOf(rollout)
  const watch = processes.watch()
  for (let i = 0; i < 20; i++) watch.count([i % 2 === 0 ? control : treated], i % 2 === 1, 10)
  await watch.flush()
  ledger.mode = 'down'
  const closed = watch.close()
  await until(() => ledger.refused > 0)
  ledger.mode = 'well'
  await closed
  watch.count([treated], true, 10)
  const next = processes.watch()
  const { requests, metrics } = await next.standing(rollout, 0)
  t.same(requests, { control: 10, treated: 10 })
  t.ok(metrics.errors!.chance < 0.005, 'a piece that had only begun is compared, too, and sent again until it arrives')
  t.same(processes.stops, [])
  ledger.mode = 'down'
  next.count([treated], true, 10)
  await next.close()
  t.match(processes.problems.at(-1), { code: 'FST_FLAGS_OUTCOMES_LOST', message: /^1 request/ })
})

t.test('no more than 500 rollouts are watched at once, and that further ones are not is told', async (t) => {
  const processes = new Processes(new MemoryLedger())
  const watch = processes.watch()
  const rollouts = Array.from({ length: 510 }, () => someRollout())
  for (const rollout of rollouts) watch.count([armsOf(rollout).treated], false, 10)
  await watch.flush()
  const sums = await Promise.all(rollouts.map(({ id }) => processes.ledger.sums(id)))
  t.equal(sums.filter((sums) => sums['treated:requests'] === 1).length, 500)
  t.match(processes.problems, [{ code: 'FST_FLAGS_OUTCOMES_LOST', message: /watches 500 guarded rollouts already/ }])
  await watch.close()
})

t.test('processes on a Redis see together what none of them would alone', async (t) => {
  const { url, namespace, client } = await startRedis(t)
  const open = () => {
    const ledger = patient(new RedisLedger({ redis: url, namespace }))
    t.teardown(() => ledger.close())
    return ledger
  }
  const rollout = someRollout()
  const { control, treated } = armsOf(rollout)
  const processes = new Processes(open())
  const watches = Array.from({ length: 4 }, () => processes.watch(open()))
  const alone = new Processes(new MemoryLedger())
  const lonely = alone.watch()
  for (const watch of [...watches, lonely]) {
    send(watch, control, 100, 1)
    send(watch, treated, 100, 7)
    await watch.flush()
  }
  t.equal(alone.stops.length, 0)
  t.match(processes.stops, [{ alarm: { metric: 'errors' } }])
  for (const watch of watches) t.match(await watch.standing(rollout, 0), { requests: { control: 400, treated: 400 }, metrics: { errors: { control: { count: 4, of: 400 }, treated: { count: 28, of: 400 } } } })
  await emptyNamespace(client, namespace)
  send(watches[0]!, treated, 199)
  await watches[0]!.flush()
  t.match(await watches[1]!.standing(rollout, 0), { requests: { control: 0, treated: 199 }, enough: false, metrics: { errors: { chance: 1 } } }, 'what Redis has lost is seen no more')
  await Promise.all([...watches, lonely].map((watch) => watch.close()))
  t.same(processes.problems, [])
})

t.test('of four apps that all see a bug one stops the rollout, by one write, and each of them then serves what was before', async (t) => {
  const { url: redis, namespace } = await startRedis(t)
  const told: string[] = []
  const apps = await Promise.all(Array.from({ length: 4 }, async (_, nth) => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(flags, { redis, namespace })
    app.get('/', async ({ flags }) => {
      if (flags.isEnabled('checkout')) throw new Error('the bug')
      return {}
    })
    app.flags.on('guard', () => { told.push(`app ${nth}`) })
    return app
  }))
  const { admin } = apps[0]!.flags
  await admin.put('checkout', { enabled: true, serve: { stages: [{ percentage: 0 }, { percentage: 50, hours: 1 }, { percentage: 100 }], guard: { errors: {}, minimum: 1 } } })
  const { version } = await admin.advance('checkout')
  const statuses = new Set<number>()
  for (const app of apps) {
    await until(() => app.flags.revision! >= version)
    for (let user = 0; user < 100; user++) statuses.add((await app.inject({ url: '/', headers: { 'x-user-id': `u${user}` } })).statusCode)
  }
  t.same([...statuses].sort(), [200, 500])
  await until(async () => {
    await Promise.all(apps.map((app) => FastifyFlags.countingOf(app.flags).guards.flush()))
    return admin.get('checkout').version > version
  })
  await Promise.all(apps.map((app) => FastifyFlags.countingOf(app.flags).guards.flush()))
  const { history } = await admin.history('checkout')
  t.match(history.filter(({ version: later }) => later > version), { length: 1, 0: { updatedBy: 'guard' } })
  t.equal(told.length, 1)
  for (const app of apps) {
    await until(() => app.flags.admin.get('checkout').version > version)
    for (let user = 0; user < 20; user++) t.equal((await app.inject({ url: '/', headers: { 'x-user-id': `u${user}` } })).statusCode, 200)
  }
})

t.test('while Redis cannot be reached, or its answers are lost, counting waits for nothing, and in the end everything is counted once', async (t) => {
  const { url, namespace } = await startRedis(t)
  const way = await road(t, url)
  const ledger = new RedisLedger({ redis: way.url, namespace })
  const processes = new Processes(ledger)
  const watch = processes.watch()
  const rollout = someRollout()
  const { control, treated } = armsOf(rollout)
  const count = () => {
    for (const arm of [control, treated]) send(watch, arm, 100, 10)
    for (let i = 0; i < 50; i++) watch.reported(treated, false, undefined, randomUUID(), processes.now)
  }
  count()
  await watch.flush()
  way.state.muteAnswers = true // what is sent arrives
  count()
  await watch.flush()
  way.state.closed = true
  way.cut()
  count()
  await watch.flush()
  way.state.muteAnswers = way.state.closed = false
  count()
  const direct = new Processes(patient(new RedisLedger({ redis: url, namespace })))
  const looking = direct.watch()
  const seen = async () => (await looking.standing(rollout, 0))
  await until(async () => {
    await watch.flush()
    return (await seen()).requests.treated >= 600
  })
  t.match(await seen(), { requests: { control: 400, treated: 600 }, metrics: { errors: { control: { count: 40, of: 400 }, treated: { count: 40, of: 600 } } } })
  t.ok(processes.problems.length > 0 && processes.problems.every(({ code }) => code === 'FST_FLAGS_GUARD_WAITING'))
  await watch.close()
  await ledger.close()
  await looking.close()
  await direct.ledger.close()
})

t.test('a goal is told to those whom the rollout draws at its stage, and fewer who reach it raise the alarm', async (t) => {
  const ledger = new MemoryLedger()
  const processes = new Processes(ledger)
  const recorder = new Recorder({ ledger, environment: 'production', now: () => processes.now, report: (problem) => { processes.problems.push(problem) } })
  const hour = 3_600_000
  const stages = [{ percentage: 0 }, { percentage: 30, hours: 1 }, { percentage: 50 }]
  const since = new Date(processes.now).toISOString()
  const flag: Flag = { enabled: true, serve: { stages, guard: { goal: { name: 'purchase' } }, state: { stage: 1, since, enoughAt: since } } }
  const snapshot = snapshotOf({ flags: { flag, plain: { enabled: true, serve: { percentage: 50 } } } })
  const { rollout } = guardedServesOf('flag', flag, 'production')[0]!
  const watch = processes.watch()
  const visit = (unit: string, goals: string[], after = 0) => {
    const subject = subjectOf(snapshot, { targetingKey: unit }, { now: processes.now + after })
    const { arm } = ask('flag', subject).counted!
    recorder.expose(arm!.trial!, subject)
    watch.count([arm!], false, 10)
    return { told: goals.map((goal) => recorder.track(subject, goal)), treated: arm!.treated }
  }
  t.same(visit('buyer', ['purchase', 'signup']).told, [1, 0])
  visit('later', [])
  visit('later', ['purchase'], 2 * hour)
  t.equal(recorder.track(subjectOf(snapshot, {}, { now: processes.now }), 'purchase'), 0, 'by nobody')
  t.equal(recorder.track(subjectOf(snapshot, { targetingKey: 'early' }, { now: processes.now - 24 * hour }), 'purchase', 0, { among: () => false }), 0, 'of a flag that is not to be seen')
  const conversionsAt = async (stage: number) => Object.values((await recorder.read(cohortOf(rollout, stage))).variants).map(({ units, goals }) => [units, goals.purchase?.conversions ?? 0])
  const sum = (pairs: number[][]) => pairs.reduce(([a, b], [c, d]) => [a! + c!, b! + d!], [0, 0])
  t.same(sum(await conversionsAt(1)), [2, 1])
  t.same(sum(await conversionsAt(2)), [1, 1])

  for (let unit = 0; unit < 3000; unit++) {
    const { treated } = visit(`u${unit}`, [])
    if (unit % 10 < (treated ? 1 : 3)) visit(`u${unit}`, ['purchase'])
  }
  await recorder.flush(true)
  await watch.flush(true)
  const { metrics, alarmAt } = await watch.standing(rollout, 1)
  t.match(processes.stops, [{ stage: 2, alarm: { metric: 'goal', stage: 2 } }]) // perhaps before all of them were recorded
  t.ok(metrics.goal!.chance <= alarmAt)
  t.ok(Math.abs(metrics.goal!.control.count / metrics.goal!.control.of - 0.3) < 0.02)
  t.ok(Math.abs(metrics.goal!.treated.count / metrics.goal!.treated.of - 0.1) < 0.02)
  await watch.close()
  await recorder.close()
  t.same(processes.problems, [])
})
