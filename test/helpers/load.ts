import { setTimeout as pause } from 'node:timers/promises'
import Fastify from 'fastify'
import type { Test } from 'tap'
import flags from '../../src/index.js'
import type { RedisConnection } from '../../src/store/redis-connection.js'
import { until } from './until.js'

/** What a fault did, in milliseconds. */
export interface Figures {
  /** The longest time in which no write was accepted. */
  unwritable: number
  /** From when a write was accepted until the other process served it; the longest. */
  visible: number
  /** The longest time in which the other process heard nothing of Redis. */
  silent: number
  /** From when Redis could answer again until the other process heard of it. */
  heard: number
}

/**
 * Two apps over one Redis: one writes a number twenty times a second, the other evaluates all the time and compares every answer.
 * `end` says what came of it: no answer may be missing or wrong, nothing printed.
 */
export async function startLoad (t: Test, redis: RedisConnection) {
  const printed: unknown[][] = []
  const { warn, error } = console
  console.warn = console.error = (...words) => { printed.push(words) }
  const [writer, reader] = [Fastify(), Fastify()]
  for (const app of [writer, reader]) await app.register(flags, { redis })
  await until(() => writer.flags.status === 'READY' && reader.flags.status === 'READY')

  const counts = { evaluations: 0, failed: 0, wrong: 0 }
  const accepted = new Map<number, number>()
  let tried = 0
  const running = { over: false }
  let worst: Figures = { unwritable: 0, visible: 0, silent: 0, heard: 0 }
  let acceptedAt = Date.now()

  const number = (value: number) => ({ variants: { now: value }, offVariant: 'now', enabled: true, serve: 'now' })
  await writer.flags.admin.put('steady', { enabled: true, serve: { percentage: 50 }, targets: [{ users: ['alice'] }] })
  await writer.flags.admin.put('number', number(0))
  await until(() => reader.flags.for('alice').getValue('number', -1) === 0)
  const expected = new Map(['alice', 'bob', 'carol', 'dave'].map((user) => [user, reader.flags.for(user).isEnabled('steady')]))

  const writing = (async () => {
    while (!running.over) {
      const value = ++tried
      const done = await writer.flags.admin.put('number', number(value)).then(() => true, () => false)
      if (done) {
        worst.unwritable = Math.max(worst.unwritable, Date.now() - acceptedAt)
        accepted.set(value, acceptedAt = Date.now())
      }
      await pause(50)
    }
  })()

  const reading = (async () => {
    for (let served = 0; !running.over; await pause(1)) {
      for (let i = 0; i < 20; i++) {
        for (const [user, answer] of expected) {
          const of = reader.flags.for(user)
          const { value, errorCode } = of.getDetails('steady', !answer)
          const number = of.getValue('number', -1)
          counts.evaluations += 2
          if (errorCode !== undefined || number === -1) counts.failed++
          else if (value !== answer || number > tried) counts.wrong++
          if (number > served) {
            // A change may be served before its writer is answered.
            for (let n = served + 1; n <= number; n++) worst.visible = Math.max(worst.visible, Date.now() - (accepted.get(n) ?? Infinity))
            served = number
          }
        }
      }
      worst.silent = Math.max(worst.silent, Date.now() - (reader.flags.lastSyncedAt ?? 0))
    }
  })()

  /** Makes something go wrong, waits until Redis is `healed`, and resolves once a number is served that was written after that. */
  async function during (fault: () => unknown, healed: () => Promise<boolean> = async () => true): Promise<Figures> {
    await pause(300)
    worst = { unwritable: 0, visible: 0, silent: 0, heard: 0 }
    await fault()
    await until(healed)
    const at = Date.now()
    await until(() => (reader.flags.lastSyncedAt ?? 0) > at)
    worst.heard = reader.flags.lastSyncedAt! - at
    const next = tried + 1
    await until(() => [...accepted.keys()].some((value) => value > next))
    await until(() => reader.flags.for('alice').getValue('number', -1) > next)
    return worst
  }

  async function stop (): Promise<void> {
    running.over = true
    await Promise.all([writing, reading])
    await Promise.all([writer.close(), reader.close()])
    Object.assign(console, { warn, error })
  }
  t.teardown(stop)

  async function end (): Promise<void> {
    await stop()
    t.comment(`${counts.evaluations} evaluations, ${accepted.size} of ${tried} writes accepted`)
    t.same({ failed: counts.failed, wrong: counts.wrong, printed }, { failed: 0, wrong: 0, printed: [] }, 'no answer failed, none was wrong, nothing was printed')
  }
  return { writer, reader, during, end }
}
