import t from 'tap'
import { staleness } from '../src/admin/stale.js'
import type { Flag } from '../src/model/flag.js'
import { startAdmin } from './helpers/admin.js'

const day = 86_400_000
const now = Date.parse('2026-06-01T00:00:00Z')
const ago = (days: number) => new Date(now - days * day).toISOString()
const reasonOf = (document: Flag, { days = 40, age = 30 } = {}) =>
  staleness({ document, provenance: { version: 1, time: now - days * day, by: null } }, now, age * day)

t.test('a flag past its expiry is stale at once, whatever it serves', async (t) => {
  t.same(reasonOf({ enabled: true, serve: { percentage: 50 }, expiresAt: ago(1) }, { days: 2 }), { reason: 'expired', since: ago(1) })
  t.equal(reasonOf({ enabled: true, serve: { percentage: 50 }, expiresAt: ago(-1) }), undefined)
})

t.test('fully on or off counts only after the whole time without a change', async (t) => {
  t.same(reasonOf({ enabled: true }), { reason: 'fully-on', since: ago(40) })
  t.same(reasonOf({ enabled: false }), { reason: 'fully-off', since: ago(40) })
  t.same(reasonOf({ enabled: true }, { days: 30 }), { reason: 'fully-on', since: ago(30) })
  t.equal(reasonOf({ enabled: true }, { days: 29.9 }), undefined)
})

const multi = { variants: ['a', 'b', 'c'], offVariant: 'a', enabled: true }
for (const [reason, flags] of Object.entries({
  'fully-on': [
    { enabled: true, serve: 'on' },
    { enabled: true, serve: { percentage: 100 } },
    { enabled: true, targets: [{ users: ['u'] }], serve: 'on' },
    { enabled: true, targets: [{ variant: 'off', users: [] }], serve: 'on' },
    { enabled: true, rules: [{ when: { attribute: 'x', operator: 'exists' }, serve: 'on' }], serve: 'on' },
    { enabled: true, serve: { variant: 'off', percentage: 0, otherwise: 'on' } },
    { ...multi, serve: 'b' },
    { ...multi, serve: { split: { b: 1, c: 0 } } },
    { environments: { production: { enabled: true }, staging: { enabled: true } } },
    { ...multi, enabled: true, environments: { production: { enabled: true, serve: 'b' }, staging: { enabled: true, serve: 'c' } } },
    { enabled: true, serve: { stages: [{ percentage: 5 }, { percentage: 100 }], state: { stage: 1, since: ago(60) } } }
  ],
  'fully-off': [
    {},
    { enabled: true, serve: 'off' },
    { enabled: true, serve: { percentage: 0 } },
    { enabled: false, serve: { percentage: 50 }, targets: [{ users: ['u'] }] },
    { ...multi, serve: 'a' },
    { environments: {} },
    { environments: { production: { enabled: false }, staging: {} } },
    { enabled: false, environments: { production: { enabled: true } } },
    { enabled: true, rules: [{ when: { attribute: 'x', operator: 'exists' }, serve: 'off' }], serve: 'off' }
  ],
  none: [
    { enabled: true, serve: { percentage: 50 } },
    { enabled: true, serve: 'off', targets: [{ users: ['u'] }] },
    { enabled: true, serve: 'on', targets: [{ variant: 'off', groups: ['g'] }] },
    { enabled: true, serve: 'off', rules: [{ when: { attribute: 'x', operator: 'exists' }, serve: { percentage: 1 } }] },
    { ...multi, serve: { split: { b: 1, c: 1 } } },
    { ...multi, serve: { split: { a: 1, b: 1 } } },
    { enabled: true, prerequisites: [{ flag: 'other' }] },
    { environments: { production: { enabled: true }, staging: { enabled: false } } },
    { enabled: true, serve: { stages: [{ percentage: 0, groups: ['internal'] }, { percentage: 100 }], state: { stage: 0, since: ago(60) } } },
    { enabled: true, serve: { stages: [{ percentage: 5 }, { percentage: 100 }], state: { stage: 0, since: ago(60) } } },
    { enabled: true, serve: { stages: [{ percentage: 0 }, { percentage: 100 }], state: { stage: 0, since: ago(60) } } }
  ]
})) {
  for (const flag of flags) {
    t.test(`${reason}: ${JSON.stringify(flag)}`, async (t) => {
      t.equal(reasonOf(flag as Flag)?.reason ?? 'none', reason)
    })
  }
}

t.test('a stage that time brought to everyone counts from when it did', async (t) => {
  const rollout = (hours: number): Flag => ({ enabled: true, serve: { stages: [{ percentage: 5, hours }, { percentage: 100 }], state: { stage: 0, since: ago(40) } } })
  t.equal(reasonOf(rollout(15 * 24)), undefined, 'reached 25 days ago')
  t.same(reasonOf(rollout(5 * 24)), { reason: 'fully-on', since: ago(35) })
})

t.test('?stale lists such flags, each with its reason, and 0d those that are so now', async (t) => {
  const { ask } = await startAdmin(t)
  await ask('PUT', '/flags/gone', { body: { enabled: true, serve: { percentage: 5 }, expiresAt: '2020-01-01T00:00:00Z' } })
  await ask('PUT', '/flags/on', { body: { enabled: true } })
  await ask('PUT', '/flags/partly', { body: { enabled: true, serve: { percentage: 5 } } })
  t.match((await ask('GET', '/flags?stale=30d')).body.flags, [{ key: 'gone', stale: { reason: 'expired', since: '2020-01-01T00:00:00.000Z' } }])
  const all = (await ask('GET', '/flags?stale=0h')).body.flags
  t.match(all, [{ key: 'gone' }, { key: 'on', stale: { reason: 'fully-on' } }])
  t.equal(all.length, 2)
  t.notOk('stale' in (await ask('GET', '/flags')).body.flags[0])
})
