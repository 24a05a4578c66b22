import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { FlagsError } from '../src/errors.js'
import type { Arm } from '../src/evaluation/arm.js'
import type { Ledger } from '../src/experiments/ledger.js'
import { MemoryLedger } from '../src/experiments/memory.js'
import { GuardWatch } from '../src/guards/watch.js'
import { guardedRolloutOf, type Alarm, type Guard, type GuardedRollout } from '../src/model/guard.js'
import type { Stage } from '../src/model/serve.js'

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
