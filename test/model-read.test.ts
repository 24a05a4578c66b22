import t from 'tap'
import { readFlag, readSegment } from '../src/model/check.js'

const flag = (document: unknown) => readFlag(JSON.stringify(document))
const segment = (document: unknown) => readSegment(JSON.stringify(document))

t.test('fields of a newer version are kept, named, and no hindrance, wherever they stand', (t) => {
  const newer = {
    enabled: true,
    kind: 'long-lived',
    environments: { 'eu.production': { serve: { percentage: 5, ramp: { from: 1 } }, targets: [{ users: [], devices: ['d1'] }], cooldown: 3 } }
  }
  t.strictSame(flag(newer), { value: newer, unknownFields: ['/kind', '/environments/eu.production/serve/ramp', '/environments/eu.production/targets/0/devices', '/environments/eu.production/cooldown'] })
  t.strictSame(segment({ when: { segment: 'a' }, cached: true }), { value: { when: { segment: 'a' }, cached: true }, unknownFields: ['/cached'] })
  t.end()
})

t.test('what is not understood inside a when is left to evaluation and named, so that nobody overwrites it unknowingly', (t) => {
  for (const when of [{ xor: [{ segment: 'a' }] }, { attribute: 'a', operator: 'near', value: { lat: 1 } }, { all: [] }, { not: { attribute: 'a' } }, 'always', null, []]) {
    for (const document of [{ serve: 'off', rules: [{ when }] }, { environments: { production: { serve: 'off', rules: [{ when }] } } }]) {
      const read = flag(document)
      t.strictSame('value' in read && read.value, document)
      t.ok('value' in read && read.unknownFields.length > 0 && read.unknownFields.every((path) => path.includes('/rules/0/when')), JSON.stringify(read))
    }
    const read = segment({ when })
    t.ok('value' in read && read.unknownFields.length > 0, JSON.stringify(read))
  }
  t.end()
})

t.test('anything else that is wrong is damage, told with its place', (t) => {
  t.match(readFlag('{"enabled": tru'), { details: [{ path: '', message: /^is not JSON: / }] })
  t.match(readFlag(''), { details: [{ path: '', message: /^is not JSON: / }] })
  const levels = 200_000
  t.match(readSegment('{"when":' + '{"not":'.repeat(levels) + '1' + '}'.repeat(levels + 1)), { details: [{ path: '', message: 'nests too deep to be read' }] })
  const damaged = (document: unknown, ...paths: string[]) => {
    const read = flag(document)
    t.same('details' in read && read.details.map(({ path }) => path), paths, JSON.stringify(document))
  }
  damaged(null, '')
  damaged([], '')
  damaged({ enabled: 1, kind: 'new', serve: { percentage: '5' } }, '/enabled', '/serve/percentage')
  damaged({ serve: 'off', rules: [{ serve: 'on' }] }, '/rules/0/when')
  damaged({ prerequisites: [{ flg: 'a' }] }, '/prerequisites/0/flg')
  damaged({ prerequisites: [{}] }, '/prerequisites/0/flag')
  damaged({ environments: { when: { rules: { when: 1 } } } }, '/environments/when/rules')
  damaged(JSON.parse('{"environments":{"__proto__":{"enabled":true}}}'), '/environments/__proto__')
  t.match(segment({}), { details: [{ path: '/when' }] })
  t.match(segment({ when: { segment: 'a' }, description: 5 }), { details: [{ path: '/description' }] })
  t.end()
})
