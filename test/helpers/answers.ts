import { setImmediate as turn } from 'node:timers/promises'
import type { Test } from 'tap'
import type { FastifyFlags } from '../../src/facade.js'
import type { Flag } from '../../src/model/flag.js'

/** One flag of each way to decide: to be written before, and to be asked without pause while a fault lasts. */
export const asked: Record<string, Flag> = {
  'asked-plain': { enabled: true },
  'asked-share': { enabled: true, serve: { percentage: 50 }, targets: [{ users: ['user-1'] }] },
  'asked-split': { enabled: true, variants: { one: { n: 1 }, two: { n: 2 } }, offVariant: 'one', serve: { split: { one: 1, two: 1 } } }
}
const users = Array.from({ length: 20 }, (_, i) => `user-${i}`)

/** Evaluates without pause, and compares every answer with the one before the fault, until `end` tells that none failed and none was wrong. */
export function askWithoutPause (t: Test, flags: FastifyFlags) {
  const answer = (user: string, key: string) => {
    const { value, variant, reason, errorCode } = flags.for(user).getDetails(key, null)
    return { errorCode, told: JSON.stringify([value, variant, reason]) }
  }
  const questions = users.flatMap((user) => Object.keys(asked).map((key) => ({ user, key, expected: answer(user, key).told })))
  const counts = { evaluations: 0, failed: 0, wrong: 0 }
  const load = { over: false }
  const asking = (async () => {
    for (; !load.over; await turn()) {
      for (const { user, key, expected } of questions) {
        counts.evaluations++
        try {
          const { errorCode, told } = answer(user, key)
          if (errorCode !== undefined) counts.failed++
          else if (told !== expected) counts.wrong++
        } catch {
          counts.failed++
        }
      }
    }
  })()
  const stop = async () => {
    load.over = true
    await asking
  }
  t.teardown(stop)
  return {
    async end () {
      await stop()
      t.match(counts, { failed: 0, wrong: 0 }, `of ${counts.evaluations} evaluations none failed, none was wrong`)
      t.ok(counts.evaluations > questions.length)
    }
  }
}
