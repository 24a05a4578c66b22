import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { StoredFlag } from '../../src/admin.js'
import { startFlagsProcess } from '../helpers/child.js'
import { startNode } from '../helpers/redis-node.js'
import { until } from '../helpers/until.js'

t.test('row 14: clocks that differ by minutes change neither versions nor order; a staged rollout follows Redis\'s clock, and does not climb while Redis is away', async (t) => {
  const redis = await startNode(t)
  if (redis === undefined) return
  const shifts = [-600_000, 0, 600_000]
  const processes = await Promise.all(shifts.map((shift) => startFlagsProcess(t, { url: redis.url, namespace: 'flags', staleAfter: 1000 }, shift)))
  const now = async () => {
    const [seconds, micros] = await redis.client.time()
    return Number(seconds) * 1000 + Number(micros) / 1000
  }
  const [slow, right, fast] = await Promise.all(processes.map(async (process) => (await process.ask('isOn', { key: 'x' })).now))
  t.ok(slow < right - 500_000 && fast > right + 500_000, 'their clocks do differ')

  await processes[2]!.ask('put', { key: 'touched', flag: { enabled: true } })
  let last: StoredFlag | undefined
  for (let times = 0; times < 12; times++) {
    const [before, flag, after] = [await now(), await processes[times % 3]!.ask('touch', { key: 'touched', times }) as StoredFlag, await now()]
    t.equal(flag.version, times + 2)
    const updatedAt = Date.parse(flag.updatedAt)
    t.ok(Math.floor(before) <= updatedAt && updatedAt <= after, 'its time is Redis\'s')
    t.ok(last === undefined || last.updatedAt <= flag.updatedAt)
    last = flag
  }

  const staged = async (by: number, key: string, seconds: number) => {
    const { status, body } = await processes[by]!.ask('put', { key, flag: { enabled: true, serve: { stages: [{ percentage: 0, hours: seconds / 3600 }, { percentage: 100 }] } } })
    t.equal(status, 201)
    return Date.parse(body.createdAt) + seconds * 1000
  }
  const answers = async (key: string) => await Promise.all(processes.map(async (process) => (await process.ask('isOn', { key })).on as boolean))

  await Promise.all([0, 2].map(async (by) => {
    const due = await staged(by, `staged-by-${by}`, 3)
    const early = await answers(`staged-by-${by}`)
    if (await now() < due) t.same(early, [false, false, false], 'not before its time')
    await until(async () => (await answers(`staged-by-${by}`)).every((on) => on)) // when Redis's clock says so: by its own one of them would be ten minutes late
  }))

  await staged(2, 'unreachable', 4)
  await pause(300)
  redis.signal('SIGSTOP')
  await pause(6000)
  for (const process of processes) t.match(await process.ask('isOn', { key: 'unreachable' }), { on: false, status: 'STALE' }, 'what nobody can stop does not climb')
  redis.signal('SIGCONT')
  await until(async () => (await answers('unreachable')).every((on) => on))
})
