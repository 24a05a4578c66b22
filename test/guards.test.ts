import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { FlagsError } from '../src/errors.js'
import type { Arm } from '../src/evaluation/arm.js'
import type { Ledger } from '../src/experiments/ledger.js'
import { MemoryLedger } from '../src/experiments/memory.js'
import { Recorder } from '../src/experiments/recorder.js'
import { GuardWatch } from '../src/guards/watch.js'
import { cohortOf, guardedRolloutOf, guardedServesOf, type Alarm, type Guard, type GuardedRollout } from '../src/model/guard.js'
import type { Flag } from '../src/model/flag.js'
import type { Stage } from '../src/model/serve.js'
import { ask, snapshotOf, subjectOf } from './helpers/evaluate.js'

function someRollout (guard: Guard = { errors: {} }, stages: Stage[] = [{ percentage: 50 }]): GuardedRollout {
  return guardedRolloutOf(`flag-${randomUUID()}`, 'production', undefined, { stages, guard })!
}

const armsOf = (rollout: GuardedRollout, stage = 0): { control: Arm, treated: Arm } => ({
  control: { rollout, stage, treated: false, trial: undefined },
  treated: { rollout, stage, treated: true, trial: undefined }
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

  watch (ledger: Ledger = this.ledger): GuardWatch {
    return new GuardWatch({
      ledger,
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
  for (let i = 0; i < requests; i++) watch.count(arm, i < failed, milliseconds)
}

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
    watch.count(arm!, false, 10)
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
  t.match(processes.stops, [{ stage: 2, alarm: { metric: 'goal', stage: 2, ...metrics.goal } }])
  t.ok(metrics.goal!.chance <= alarmAt)
  t.ok(Math.abs(metrics.goal!.control.count / metrics.goal!.control.of - 0.3) < 0.02)
  t.ok(Math.abs(metrics.goal!.treated.count / metrics.goal!.treated.of - 0.1) < 0.02)
  await watch.close()
  await recorder.close()
  t.same(processes.problems, [])
})
