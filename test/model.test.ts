import { readFileSync } from 'node:fs'
import t from 'tap'
import { checkFlag, checkSegment } from '../src/model/check.js'
import { parseJson, type JsonValue } from '../src/model/json.js'

const nobody = { flag: () => undefined, segment: () => undefined }

t.test('examples/flags.json holds valid flags', (t) => {
  const parsed = parseJson(readFileSync(new URL('../examples/flags.json', import.meta.url), 'utf8'))
  const { flags } = ('value' in parsed ? parsed.value : {}) as { flags: Record<string, JsonValue> }
  t.equal(Object.keys(flags).length, 8)
  for (const [key, flag] of Object.entries(flags)) t.same(checkFlag(key, flag, nobody), { value: flag }, key)
  t.end()
})

t.test('a segment is valid by itself', (t) => {
  const segment = { when: { attribute: 'country', operator: 'in', value: ['de', 'fr'] } }
  t.same(checkSegment('eu', segment, nobody), { value: segment })
  t.end()
})
