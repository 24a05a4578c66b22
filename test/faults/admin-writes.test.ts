import t from 'tap'
import { RedisStore } from '../../src/store/redis.js'
import { startFlagsProcess } from '../helpers/child.js'
import { until } from '../helpers/until.js'
import { startRedis } from '../helpers/redis.js'

t.test('row 7: of 1,000 concurrent admin writes from 4 processes none is lost, each has a version, and every stale If-Match is refused', async (t) => {
  const { url, namespace } = await startRedis(t)
  const processes = await Promise.all([0, 1, 2, 3].map(() => startFlagsProcess(t, { url, namespace })))
  await processes[0]!.ask('put', { key: 'shared', flag: { enabled: true, serve: 'off' } })
  await until(async () => (await Promise.all(processes.map((process) => process.ask('revisions')))).flat().every((revision) => revision >= 1))
  const outcomes = await Promise.all(processes.map((process, i) => process.ask('change', { key: 'shared', times: 250, name: `p${i}` })))
  for (const { done, staleRefused, others } of outcomes) t.same({ done, staleRefused, others }, { done: 250, staleRefused: 125, others: [] })
  const sum = (what: 'refused' | 'unavailable') => outcomes.reduce((sum, outcome) => sum + Number(outcome[what]), 0)
  t.comment(`${sum('refused')} more were refused because another process came first, ${sum('unavailable')} because this machine was too busy`)

  const store = new RedisStore({ redis: url, namespace })
  t.teardown(() => store.close())
  const { changes } = await store.history({ kind: 'flag', key: 'shared', after: 0, limit: 2000 })
  t.same(changes.map(({ version }) => version), Array.from({ length: 1001 }, (_, i) => i + 1))
  const { targets } = JSON.parse((changes.at(-1) as { document: string }).document)
  t.same(targets[0].users.sort(), processes.flatMap((_, p) => Array.from({ length: 250 }, (_, i) => `p${p}-${i}`)).sort())
})
