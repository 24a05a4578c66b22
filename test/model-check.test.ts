import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { checkFlag, checkSegment, maxDocumentBytes, readFlag } from '../src/model/check.js'
import type { When } from '../src/model/condition.js'
import type { Flag } from '../src/model/flag.js'
import { parseJson, type JsonValue } from '../src/model/json.js'
import { membershipsOf } from '../src/model/layer.js'
import type { Others } from '../src/model/references.js'
import type { Segment } from '../src/model/segment.js'

const nobody: Others = { flag: () => undefined, segment: () => undefined, layer: () => [] }

function among (flags: Record<string, Flag>, segments: Record<string, Segment> = {}): Others {
  return { flag: (key) => flags[key], segment: (key) => segments[key], layer: (name) => Object.entries(flags).flatMap(([key, flag]) => membershipsOf(key, flag)).filter(({ layer }) => layer === name) }
}

/** What a flag is refused for, `path message` each; nothing when it is accepted. */
function faults (document: unknown, others = nobody, key = 'flag'): string[] {
  const checked = checkFlag(key, document, others)
  return 'details' in checked ? checked.details.map(({ path, message }) => `${path} ${message}`) : []
}

const pathsOf = (faults: string[]) => faults.map((fault) => fault.split(' ')[0])

function accepts (t: Test, document: unknown, others = nobody): void {
  t.same(faults(document, others), [], inspect(document, { depth: 8 }).slice(0, 200))
}

/** Refused with exactly these faults; each is a path, a blank, and how its message begins. */
function refuses (t: Test, document: unknown, expected: string[], others = nobody): void {
  const told = faults(document, others)
  t.ok(told.length === expected.length && expected.every((fault, i) => told[i]!.startsWith(fault)),
    inspect(document, { depth: 8 }).slice(0, 200), { found: told, wanted: expected })
}

t.test('examples/flags.json holds eight valid flags', (t) => {
  const parsed = parseJson(readFileSync(new URL('../examples/flags.json', import.meta.url), 'utf8'))
  const { flags } = ('value' in parsed ? parsed.value : {}) as { flags: Record<string, JsonValue> }
  t.equal(Object.keys(flags).length, 8)
  for (const [key, flag] of Object.entries(flags)) t.same(checkFlag(key, flag, nobody), { value: flag }, key)
  t.end()
})

t.test('a key is 1 to 100 letters, digits, ".", "_", ":" or "-", and never a prototype\'s name, wherever it stands', (t) => {
  for (const key of ['a', 'a:b', 'A.b_c-9', 'x'.repeat(100)]) {
    t.same(checkFlag(key, { variants: { [key]: 1 }, offVariant: key, environments: { [key]: { serve: key } } }, nobody),
      { value: { variants: { [key]: 1 }, offVariant: key, environments: { [key]: { serve: key } } } }, key)
    t.ok('value' in checkSegment(key, { when: { attribute: 'a', operator: 'exists' } }, nobody), key)
  }
  for (const key of ['', '__proto__', 'constructor', 'toString', 'hasOwnProperty', 'a/b', 'a b', '-a', 'ü', 'x'.repeat(101), 'a\n']) {
    t.same(pathsOf(faults({}, nobody, key)), ['/key'], `${key} as the key of a flag`)
    t.same(checkSegment(key, { when: { attribute: 'a', operator: 'exists' } }, nobody), { details: [{ path: '/key', message: `${JSON.stringify(key)} cannot be a key; take a key of 1 to 100 letters, digits, ".", "_", ":" or "-", beginning with a letter or digit, and no name that every JavaScript object has, such as "constructor"` }] }, `${key} as the key of a segment`)
    const place = key.replaceAll('/', '~1')
    const named = (value: JsonValue) => JSON.parse(`{${JSON.stringify(key)}:${JSON.stringify(value)}}`)
    t.match(faults({ variants: named(1), offVariant: 'a', serve: 'a' })[0], `/variants/${place} `, `${key} as a variant`)
    t.match(faults({ variants: [key], serve: 'a' })[0], '/variants/0 ', `${key} as a variant in a list`)
    t.match(faults({ environments: named({}) })[0], `/environments/${place} `, `${key} as an environment`)
    t.match(faults({ serve: { split: named(1) } })[0], `/serve/split/${place} `, `${key} in a split`)
    t.match(faults({ prerequisites: [{ flag: key }] })[0], '/prerequisites/0/flag ', `${key} as a prerequisite`)
  }
  refuses(t, { key: 'other' }, ['/key must be "flag", the key it is stored under, or left out'])
  accepts(t, { key: 'flag' })
  t.end()
})

t.test('a field of the wrong type is named, and a number or boolean in quotes is told to lose them; nothing is coerced', (t) => {
  refuses(t, { enabled: 'true' }, ['/enabled must be true or false; write true without quotes'])
  refuses(t, { enabled: 1 }, ['/enabled must be true or false, not a number'])
  refuses(t, { enabled: null }, ['/enabled must be true or false, not null'])
  refuses(t, { serve: { percentage: '25' } }, ['/serve/percentage must be a number from 0 to 100, such as 25 or 0.5; write 25 without quotes'])
  refuses(t, { serve: { percentage: null } }, ['/serve/percentage must be a number from 0 to 100, such as 25 or 0.5, not null'])
  refuses(t, { serve: { percentage: 100.1 } }, ['/serve/percentage must be a number from 0 to 100'])
  refuses(t, { serve: { percentage: -1 } }, ['/serve/percentage must be a number from 0 to 100'])
  refuses(t, { version: '3' }, ['/version must be a whole number: the version that this change applies to; write 3 without quotes'])
  refuses(t, { serve: 'off', targets: [{ users: 'u1' }] }, ['/targets/0/users must be a list of targeting keys, such as ["user_123"], not a text'])
  refuses(t, { serve: 'off', targets: { users: ['u1'] } }, ['/targets must be a list of at most 1000 targets such as { "users": ["user_123"] }, not an object'])
  refuses(t, { serve: 'off', targets: [{ users: ['u1', 2, ''] }] }, ['/targets/0/users/1 must be a text of 1 to 1000 characters, not a number', '/targets/0/users/2 must be a text'])
  refuses(t, { metadata: { ticket: null, n: 1 } }, ['/metadata/ticket must be a text, a number, true or false, not null'])
  refuses(t, { metadata: { toString: 'x' } }, ['/metadata/toString the name must be 1 to 100 characters'])
  refuses(t, { environments: { production: true } }, ['/environments/production must be an environment such as { "enabled": true, "serve": "on" }, not true'])
  refuses(t, { environments: ['production'] }, ['/environments must be an object of environment name to its settings, not a list'])
  refuses(t, { enabled: { toString: false } }, ['/enabled must be true or false, not an object'])
  for (const [document, is] of [[null, 'null'], [[{}], 'a list'], [5, 'a number'], ['x', 'a text'], [true, 'true']]) refuses(t, document, [` must be a flag such as { "enabled": true }, not ${is}`])
  t.same(pathsOf(faults(undefined)), [''])
  t.end()
})

t.test('a date must exist and say its zone', (t) => {
  for (const date of ['2028-02-29T00:00:00Z', '2027-01-31T23:59:59.5+05:30']) accepts(t, { expiresAt: date })
  for (const date of ['2027-02-29T00:00:00Z', '2027-01-31', '2027-01-31T08:00:00', '2027-01-31T24:00:00Z', '2016-12-31T23:59:60Z', '2027-01-31t08:00:00z', 'soon', '']) {
    refuses(t, { expiresAt: date }, ['/expiresAt must be a date and time with its zone, such as "2027-01-31T08:00:00Z": when the flag should be gone'])
  }
  accepts(t, { expiresAt: new Date(0) })
  t.end()
})

t.test('an unknown field names itself and the name that was probably meant', (t) => {
  refuses(t, { enabeld: true }, ['/enabeld is not a field known here; did you mean "enabled"?'])
  refuses(t, { Enabled: true, off_variant: 'on' }, ['/Enabled is not a field known here; did you mean "enabled"?', '/off_variant is not a field known here; did you mean "offVariant"?'])
  refuses(t, { serve: { percntage: 25 } }, ['/serve/percntage is not a field known here; did you mean "percentage"?'])
  refuses(t, { rollout: 25 }, ['/rollout is not a field known here; there are key, description,'])
  refuses(t, { serve: 'off', targets: [{ user: ['u1'] }] }, ['/targets/0/user is not a field known here; did you mean "users"?'])
  refuses(t, { 'a/b~c': 1 }, ['/a~1b~0c is not a field known here'])
  refuses(t, { prerequisites: [{ flg: 'x' }] }, ['/prerequisites/0/flg is not a field known here; did you mean "flag"?'])
  t.end()
})

t.test('every fault of a document is told at once, of its form and of its meaning', (t) => {
  refuses(t, {
    enabled: 'yes',
    colour: 'red',
    serve: { percentage: '25' },
    targets: [{ users: [1], variant: 'new' }, { variant: 'new' }],
    rules: [{ when: { segment: 'nowhere' } }, { when: { attribute: 'a', operator: 'gt', value: 'many' }, srve: 'on' }]
  }, ['/enabled ', '/colour ', '/serve/percentage ', '/targets/0/users/0 ', '/rules/1/srve ', '/targets/1/variant ', '/rules/0/when/segment ', '/rules/1/when/value '])
  t.end()
})

t.test('of a union only the branch that was meant is told', (t) => {
  const serve = 'must be the name of a variant, or an object such as { "percentage": 25 } or { "split": { "a": 50, "b": 50 } }'
  refuses(t, { serve: 25 }, [`/serve ${serve}, not a number`])
  refuses(t, { serve: '25%' }, [`/serve ${serve}`])
  refuses(t, { serve: ['on'] }, [`/serve ${serve}, not a list`])
  refuses(t, { variants: 'a' }, ['/variants must be a list of names such as ["control", "new"], or an object of name to value, all values of one JSON type, not a text', '/serve '])
  refuses(t, { variants: [], serve: 'a' }, ['/variants must be a list of names such as ["control", "new"], or an object of name to value, all values of one JSON type, not an empty list'])
  refuses(t, { variants: {}, serve: 'a', offVariant: 'a' }, ['/variants must be a list of names such as ["control", "new"], or an object of name to value, all values of one JSON type, not an empty object'])
  const rule = (when: unknown, fault: string) => refuses(t, { serve: 'off', rules: [{ when }] }, [`/rules/0/when${fault}`])
  const node = 'one of { "all": […] }, { "any": […] }, { "not": … }, { "segment": key } or a condition'
  rule({}, ` must be ${node}, not an empty object`)
  rule(5, ` must be ${node}, not a number`)
  rule({ all: [] }, '/all must be a list of one or more conditions that must all hold, not an empty list')
  rule({ any: [] }, '/any must be a list of one or more conditions of which one must hold, not an empty list')
  rule({ all: [{ attribute: 'a', operator: 'exists' }], any: [{ attribute: 'a', operator: 'exists' }] }, `/any must not stand beside "all"; here is ${node}`)
  rule({ all: [{ not: { any: [{ attribute: 'a', operator: 'equals', value: 1 }] } }] }, '/all/0/not/any/0/operator must be one of eq, ne, in')
  rule({ attribute: 'a', operator: 'begins_with', value: 'x' }, '/operator must be one of eq, ne, in')
  rule({ attribute: 'a', operator: 'start_with', value: 'x' }, '/operator must be one of eq, ne, in')
  rule({ atribute: 'a', operator: 'exists' }, '/atribute is not a field known here; did you mean "attribute"?')
  rule({ attribute: 'a' }, '/operator is missing; it must be one of eq, ne, in')
  rule({ attribute: 'a', operator: 'eq', value: { b: 1 } }, '/value must be a text, a number, true, false, or a list of these where the operator takes one, not an object')
  rule({ attribute: 'a', operator: 'in', value: ['b', null] }, '/value/1 must be a text, a number, true or false, not null')
  refuses(t, { serve: 'off', rules: [{ serve: 'on' }] }, [`/rules/0/when is missing; it must be ${node}`])
  t.end()
})

t.test('enabled beside environments is the kill switch over all of them, as DESIGN §3 has it; any other deciding field there is refused', (t) => {
  accepts(t, { enabled: false, environments: { production: { enabled: true } } })
  accepts(t, { enabled: true, environments: {} })
  for (const [field, value] of Object.entries({ serve: 'on', targets: [], rules: [], prerequisites: [], experiment: {} })) {
    refuses(t, { environments: { production: {} }, [field]: value }, [`/${field} must not stand beside environments; say it in each of them, such as /environments/production/${field}`])
  }
  t.end()
})

t.test('values of variants are of one JSON type, lists apart from objects, and never null', (t) => {
  const variants = (variants: Record<string, unknown>, expected: string[]) => refuses(t, { variants, offVariant: 'a', serve: 'a' }, expected)
  variants({ a: 1, b: 2.5 }, [])
  variants({ a: [1], b: [] }, [])
  variants({ a: {}, b: { c: null } }, [])
  variants({ a: 1, b: '2', c: 3, d: true }, ['/variants/b must be of one JSON type with "a" (number), not string', '/variants/d must be of one JSON type with "a" (number), not boolean'])
  variants({ a: {}, b: [] }, ['/variants/b must be of one JSON type with "a" (object), not array'])
  variants({ a: null, b: 1, c: 2 }, ['/variants/a must have a value, not null'])
  refuses(t, { variants: ['a', 'b', 'a'], serve: 'a' }, ['/variants/2 stands twice: leave one "a" out'])
  t.end()
})

t.test('offVariant must be said with an object of variants, and must be one of them', (t) => {
  refuses(t, { variants: { a: 1, b: 2 }, serve: 'a' }, ['/offVariant is missing; say which is served when nothing else is: "a", "b"'])
  refuses(t, { variants: { alpha: 1, beta: 2 }, serve: 'alpha', offVariant: 'alhpa' }, ['/offVariant names a variant "alhpa" that is not there; did you mean "alpha"?'])
  accepts(t, { variants: ['a', 'b'], serve: 'b' })
  accepts(t, { variants: ['a', 'b'], serve: 'b', offVariant: 'b' })
  accepts(t, { offVariant: 'on' })
  refuses(t, { offVariant: 'none' }, ['/offVariant names a variant "none" that is not there; there are "on", "off"'])
  t.end()
})

t.test('every variant that a flag names must be one of its own', (t) => {
  const draw = (serve: unknown, ...expected: string[]) => refuses(t, { variants: ['a', 'b'], serve }, expected)
  draw('nope', '/serve names a variant "nope" that is not there; there are "a", "b"')
  draw({ variant: 'nope' }, '/serve/variant names')
  draw({ split: { a: 1, nope: 1 } }, '/serve/split/nope names')
  draw({ variant: 'a', percentage: 5, otherwise: 'nope' }, '/serve/otherwise names')
  refuses(t, { variants: ['a', 'b'], serve: 'a', targets: [{ variant: 'nope' }], rules: [{ when: { attribute: 'a', operator: 'exists' }, serve: 'nope' }], experiment: { control: 'nope' } },
    ['/targets/0/variant names', '/rules/0/serve names', '/experiment/control names'])
  refuses(t, { environments: { production: { serve: 'nope' }, staging: { serve: { variant: 'nope' } } } }, ['/environments/production/serve names', '/environments/staging/serve/variant names'])
  refuses(t, { variants: ['a', 2], serve: 'nope' }, ['/variants/1 must'])
  t.end()
})

t.test('a variant may be left out of a boolean flag only, where it means on', (t) => {
  const when = { attribute: 'a', operator: 'exists' }
  accepts(t, { serve: { percentage: 5 }, targets: [{ users: ['u'] }], rules: [{ when }, { when, serve: {} }] })
  refuses(t, { variants: ['a', 'b'], serve: { percentage: 5 }, targets: [{ users: ['u'] }], rules: [{ when }, { when, serve: {} }] }, [
    '/targets/0/variant is missing; say which variant: "a", "b"',
    '/rules/0/serve is missing; say what those whom the rule matches get, such as "a"',
    '/rules/1/serve/variant is missing; say which variant is served, such as "a", or give a "split"',
    '/serve/variant is missing'])
  t.end()
})

t.test('serve may be left out of a boolean flag with neither targets nor rules only; elsewhere the flag must say what everyone else gets', (t) => {
  const rules = [{ when: { attribute: 'a', operator: 'exists' } }]
  accepts(t, {})
  accepts(t, { targets: [], rules: [] })
  accepts(t, { environments: { production: { enabled: true }, staging: {} } })
  refuses(t, { targets: [{ users: ['u'] }] }, ['/serve is missing; say what everyone else gets, such as "off"'])
  refuses(t, { rules }, ['/serve is missing; say what everyone else gets, such as "off"'])
  refuses(t, { environments: { production: {}, staging: { rules } } }, ['/environments/staging/serve is missing; say what everyone else gets'])
  refuses(t, { variants: ['a', 'b'] }, ['/serve is missing; say what everyone else gets, such as "a"'])
  refuses(t, { variants: ['a', 'b'], environments: { production: {} } }, ['/environments/production/serve is missing'])
  t.end()
})

t.test('a serve draws or does not, by one percentage or by stages', (t) => {
  const draw = (serve: unknown, ...expected: string[]) => refuses(t, { variants: ['a', 'b'], serve }, expected)
  draw({ variant: 'a', split: { a: 1 } }, '/serve/split must not stand beside "variant"')
  draw({ variant: 'a', percentage: 5, stages: [{ percentage: 5 }] }, '/serve/stages must not stand beside "percentage"')
  draw({ split: { a: 0, b: 0 } }, '/serve/split must give at least one variant a weight above 0')
  draw({ split: {} }, '/serve/split must give at least one variant a weight above 0')
  draw({ split: { a: -1, b: 2 } }, '/serve/split/a must be a weight, 0 or more, such as 50')
  draw({ split: { a: '50', b: 2 } }, '/serve/split/a must be a weight, 0 or more, such as 50; write 50 without quotes')
  draw({ split: { a: 1e308, b: 1e308 } }, '/serve/split must have weights whose sum is a number')
  draw({ split: { a: 0, b: 0.1 } })
  draw({ split: { a: Infinity, b: 1 } }, '/serve/split/a must be a weight')
  t.end()
})

t.test('stages never fall, and begin in their order', (t) => {
  const stages = (stages: unknown, ...expected: string[]) => refuses(t, { serve: { stages } }, expected)
  stages([{ percentage: 0, groups: ['staff'] }, { percentage: 5, hours: 2 }, { percentage: 5, at: '2027-01-31T00:00:00Z' }, { percentage: 100, at: '2027-01-31T01:00:00+01:00' }])
  stages([{ percentage: 25 }, { percentage: 10 }, { percentage: 50 }, { percentage: 49.9 }], '/serve/stages/1/percentage must be at least 25, as in the stage before: stages never fall', '/serve/stages/3/percentage ')
  stages([{ percentage: 1, at: '2027-01-31T00:00:00Z' }, { percentage: 2 }, { percentage: 3, at: '2027-01-30T23:59:59Z' }], '/serve/stages/2/at must not be before 2027-01-31T00:00:00Z, when an earlier stage begins')
  stages([], '/serve/stages must be a list of one or more stages')
  stages([{ groups: ['staff'] }], '/serve/stages/0/percentage is missing; it must be a number from 0 to 100')
  stages([{ percentage: 1, hours: 0 }], '/serve/stages/0/hours must be how many hours')
  stages([{ percentage: 1, at: 'tomorrow' }], '/serve/stages/0/at must be')
  t.end()
})

t.test('no two rules of a place have one name', async (t) => {
  const rule = (name?: string) => ({ ...name !== undefined && { name }, when: { attribute: 'a', operator: 'exists' }, serve: 'on' })
  accepts(t, { serve: 'off', rules: [rule('a'), rule(), rule('b'), rule()] })
  accepts(t, { environments: { one: { serve: 'off', rules: [rule('a')] }, two: { serve: 'off', rules: [rule('a')] } } })
  refuses(t, { serve: 'off', rules: [rule('a'), rule('b'), rule('a'), rule('a')] }, ['/rules/2/name must not be "a" again, the name of /rules/0;', '/rules/3/name must not'])
  refuses(t, { environments: { one: { serve: 'off', rules: [rule('a'), rule('a')] } } }, ['/environments/one/rules/1/name must not'])
  refuses(t, { serve: 'off', rules: [rule('1'), rule()] }, ['/rules/0/name must not be "1" again, the name of /rules/1;'])
  accepts(t, { serve: 'off', rules: [rule('2'), rule()] })
  t.ok('value' in readFlag(JSON.stringify({ serve: 'off', rules: [rule('a'), rule('a')] })), 'what is stored already is read')
})

t.test('a prerequisite must exist with its variant', (t) => {
  const others = among({ plain: {}, colours: { variants: ['red', 'green'], serve: 'red' } })
  accepts(t, { prerequisites: [{ flag: 'plain' }, { flag: 'plain', variant: 'off' }, { flag: 'colours', variant: 'red' }] }, others)
  refuses(t, { prerequisites: [{ flag: 'nowhere' }, { flag: 'colours' }, { flag: 'colours', variant: 'gren' }, { flag: 'plain', variant: 'red' }] }, [
    '/prerequisites/0/flag names a flag "nowhere" that is not there; create it first',
    '/prerequisites/1/variant is missing; say which variant: "red", "green"',
    '/prerequisites/2/variant names a variant "gren" that is not there; did you mean "green"?',
    '/prerequisites/3/variant names a variant "red" that is not there'], others)
  t.end()
})

t.test('prerequisites that lead back to the flag are refused, in the environment where they do', (t) => {
  refuses(t, { prerequisites: [{ flag: 'flag' }] }, ['/prerequisites/0/flag leads back to this flag (flag → flag); leave one'])
  refuses(t, { prerequisites: [{ flag: 'a' }] }, ['/prerequisites/0/flag leads back to this flag (flag → a → b → flag); leave one'],
    among({ a: { prerequisites: [{ flag: 'c' }, { flag: 'b' }] }, b: { prerequisites: [{ flag: 'flag' }] }, c: {} }))
  const inStaging = among({ a: { environments: { production: {}, staging: { prerequisites: [{ flag: 'flag' }] } } } })
  accepts(t, { environments: { production: { prerequisites: [{ flag: 'a' }] }, staging: {} } }, inStaging)
  refuses(t, { environments: { production: {}, staging: { prerequisites: [{ flag: 'a' }] } } }, ['/environments/staging/prerequisites/0/flag leads back'], inStaging)
  refuses(t, { prerequisites: [{ flag: 'a' }] }, ['/prerequisites/0/flag leads back'], inStaging)
  accepts(t, { prerequisites: [{ flag: 'a' }] }, among({ a: { environments: { x: { prerequisites: [{ flag: 'b' }] } } }, b: { environments: { y: { prerequisites: [{ flag: 'flag' }] } } } }))
  accepts(t, { prerequisites: [{ flag: 'a' }] }, among({ a: { prerequisites: [{ flag: 'b' }] }, b: { prerequisites: [{ flag: 'a' }] } }))
  const chain = (key: string) => ({ prerequisites: [{ flag: `f${Number(key.slice(1)) + 1}` }] })
  refuses(t, { prerequisites: [{ flag: 'f0' }] }, ['/prerequisites/0/flag leads back to this flag (flag → f0 → f1 → f2 → f3 → … → f49998 → f49999 → f50000 → flag); leave one'],
    { flag: (key) => key === 'f50000' ? { prerequisites: [{ flag: 'flag' }] } : chain(key), segment: () => undefined, layer: () => [] })
  accepts(t, { prerequisites: [{ flag: 'f0' }] }, { flag: (key) => key === 'f50000' ? {} : chain(key), segment: () => undefined, layer: () => [] })
  t.end()
})

t.test('segments must exist and not lead back to themselves', (t) => {
  const others = among({}, { a: { when: { any: [{ not: { segment: 'b' } }] } }, b: { when: { segment: 'c' } }, c: { when: { attribute: 'a', operator: 'exists' } } })
  const check = (key: string, when: When) => {
    const checked = checkSegment(key, { when }, others)
    return 'details' in checked ? checked.details.map(({ path, message }) => `${path} ${message}`) : []
  }
  t.same(check('new', { all: [{ segment: 'a' }, { segment: 'b' }] }), [])
  t.same(check('new', { all: [{ segment: 'a' }, { segment: 'nowhere' }] }), ['/when/all/1/segment names a segment "nowhere" that is not there; create it first'])
  t.same(check('c', { not: { segment: 'a' } }), ['/when/not/segment leads back to this segment (c → a → b → c); leave one of them out'])
  t.same(check('new', { segment: 'new' }), ['/when/segment leads back to this segment (new → new); leave one of them out'])
  refuses(t, { serve: 'off', rules: [{ when: { not: { segment: 'nowhere' } } }] }, ['/rules/0/when/not/segment names a segment "nowhere" that is not there; create it first'], others)
  t.same(checkSegment('x', {}, others), { details: [{ path: '/when', message: 'is missing; it must be one of { "all": […] }, { "any": […] }, { "not": … }, { "segment": key } or a condition' }] })
  t.end()
})

t.test('a when has at most 16 levels', (t) => {
  const levels = (n: number): When => n === 1 ? { attribute: 'a', operator: 'exists' } : n % 2 ? { not: levels(n - 1) } : { all: [levels(n - 1)] }
  t.ok('value' in checkSegment('s', { when: levels(16) }, nobody))
  const deeper = checkSegment('s', { when: levels(17) }, nobody)
  t.match(deeper, { details: [{ path: /^\/when(\/not\/all\/0){8}$/, message: 'is more than 16 levels deep; move a part into a segment and name that' }] })
  t.match(checkSegment('s', { when: levels(200) }, nobody), { details: [{ message: /nests deeper than 90 levels/ }] })
  t.match(checkSegment('s', { when: Array.from({ length: 100_000 }).reduce<unknown>((when) => ({ not: when }), {}) }, nobody), { details: [{ path: '', message: /nests too deep/ }] })
  t.end()
})

t.test('a condition\'s value must be there, be a list where one is taken, and be readable for its operator', (t) => {
  const condition = (operator: string, value: unknown, fault?: string, more = {}) =>
    refuses(t, { serve: 'off', rules: [{ when: { attribute: 'a', operator, value, ...more } }] }, fault === undefined ? [] : [`/rules/0/when${fault}`])
  for (const operator of ['eq', 'ne']) {
    for (const value of ['', 2, true]) condition(operator, value)
    condition(operator, ['x'], '/value must be a single value for')
  }
  for (const operator of ['in', 'not_in']) {
    for (const value of [[], ['x', 2, false]]) condition(operator, value)
    condition(operator, 'x', `/value must be a list for ${operator}; write ["x"]`)
  }
  for (const operator of ['gt', 'gte', 'lt', 'lte']) {
    for (const value of [-2.5, '30', '1e3']) condition(operator, value)
    for (const value of ['many', '', true, '0x10']) condition(operator, value, '/value must be a number such as 30 (for')
    condition(operator, [1], `/value must be a single value for ${operator}, not a list`)
  }
  for (const operator of ['contains', 'starts_with', 'ends_with']) {
    for (const value of ['x', '', ['x', 'y']]) condition(operator, value)
    condition(operator, 5, '/value must be a text')
    condition(operator, ['x', 5], '/value/1 must be a text')
  }
  condition('not_contains', 'x')
  condition('not_contains', ['x'], '/value must be a single value for not_contains, not a list; put "contains" with the list inside "not"')
  for (const value of ['^a+$', '(?i)x', ['a', '\\d{2,5}'], '(a|a)*$']) condition('matches', value)
  condition('matches', '[', '/value must be a regular expression in RE2 syntax')
  condition('matches', ['a', '(?=x)'], '/value/1 must be a regular expression in RE2 syntax, which has no look-around and no back-references (')
  condition('matches', 'a'.repeat(1001), '/value must be a regular expression of at most 1000 characters')
  condition('matches', '(\\d{1,3}\\.){3}\\d{1,3}')
  condition('matches', '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')
  condition('matches', '\\x{1F600}+\\d{1,1000}')
  for (const value of [`(${'a'.repeat(90)}){1000}`, `((${'a'.repeat(300)}){31}){31}`]) condition('matches', value, '/value must be a regular expression that repeats less')
  for (const operator of ['semver_eq', 'semver_gt', 'semver_gte', 'semver_lt', 'semver_lte']) {
    for (const value of ['1.2.3', 'v1.2.3', '2', '2.4', '1.2.3-rc.1+build']) condition(operator, value)
    for (const value of [2, 2.4, '1.2.3.4', 'x', '']) condition(operator, value, '/value must be a semantic version in quotes, such as "2.4.0"')
  }
  for (const operator of ['before', 'after']) {
    for (const value of ['2027-01-31', '2027-01-31T08:00:00Z', '2027-01-31T08:00', 1_800_000_000_000]) condition(operator, value)
    for (const value of ['2027-02-30', 'tomorrow', true, '5']) condition(operator, value, '/value must be a date such as')
  }
  for (const value of ['10.0.0.0/8', '2001:db8::/32', '127.0.0.1', ['::1', '10.0.0.0/8']]) condition('in_cidr', value)
  for (const value of ['10.0.0.0/33', '::/129', '10.0.0', 'localhost', '10.0.0.0/', 10]) condition('in_cidr', value, '/value must be a range of addresses such as "10.0.0.0/8"')
  for (const operator of ['exists', 'not_exists']) {
    condition(operator, undefined)
    condition(operator, true, `/value must be left out: ${operator} compares with nothing`)
    condition(operator, undefined, `/ignoreCase must be left out: ${operator} does not compare texts`, { ignoreCase: true })
  }
  condition('eq', undefined, '/value is missing; eq needs a value to compare with')
  condition('in', undefined, '/value is missing; in needs a list to compare with')
  condition('in', ['x'], undefined, { ignoreCase: true })
  condition('gt', 5, '/ignoreCase must be left out: gt does not compare texts', { ignoreCase: false })
  t.end()
})

t.test('the patterns of a document together are bounded, so that compiling them blocks nobody', (t) => {
  const when = { attribute: 'a', operator: 'matches', value: Array.from({ length: 60 }, (_, i) => `^(${'x'.repeat(900)}|${i})$`) }
  accepts(t, { serve: 'off', rules: [{ when }] })
  const told = faults({ serve: 'off', rules: [{ when }, { when }] })
  t.match(told[0], /^\/rules\/1\/when\/value\/\d+ must be a shorter regular expression, or others must be: together the document's take too long to compile/)
  t.end()
})

t.test('a document has at most a megabyte, in which 100,000 users find room', (t) => {
  accepts(t, { serve: 'off', targets: [{ users: Array.from({ length: 100_000 }, (_, i) => `u${i}`) }] })
  accepts(t, { serve: 'off', targets: [{ users: Array.from({ length: 10_000 }, (_, i) => `user-${i}@example.org-${'x'.repeat(40)}`) }] })
  refuses(t, { description: 'x', variants: { a: 'x'.repeat(maxDocumentBytes) }, offVariant: 'a', serve: 'a' }, [` must be at most ${maxDocumentBytes} bytes of JSON, not `])
  refuses(t, { description: 'x', variants: { a: 'ü'.repeat(maxDocumentBytes / 2) }, offVariant: 'a', serve: 'a' }, [` must be at most ${maxDocumentBytes} bytes of JSON, not `])
  t.end()
})

t.test('of more than a thousand faults the first thousand are told, and that there are more', (t) => {
  const told = faults({ serve: 'off', targets: [{ users: Array.from({ length: 100_000 }, () => 1) }] })
  t.equal(told.length, 1001)
  t.equal(told.at(-1), ' has more fields to mend than are told here')
  t.end()
})

t.test('what comes from code is kept as JSON keeps it, apart from what was given, or refused', (t) => {
  const flag = { expiresAt: new Date(0), owner: undefined, variants: { a: { n: [1] } }, offVariant: 'a', serve: 'a' }
  const checked = checkFlag('flag', flag, nobody)
  flag.variants.a.n.push(2)
  t.strictSame(checked, { value: { expiresAt: '1970-01-01T00:00:00.000Z', variants: { a: { n: [1] } }, offVariant: 'a', serve: 'a' } })
  const circle: Record<string, unknown> = {}
  circle.metadata = circle
  refuses(t, circle, [' cannot be written as JSON: '])
  refuses(t, { version: 1n }, [' cannot be written as JSON: '])
  refuses(t, { serve: { percentage: NaN } }, ['/serve/percentage must be a number'])
  refuses(t, JSON.parse('{"variants":{"a":{"b":{"__proto__":{}}}},"offVariant":"a","serve":"a"}'), ['/variants/a/b/__proto__ must not be called "__proto__": choose another name'])
  t.end()
})
