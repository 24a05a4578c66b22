import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { checkFlag, loadFlag, readFlag } from '../src/model/check.js'
import { pointer } from '../src/model/json.js'
import { amongNeighbours, arbitraryFlag } from './helpers/arbitrary-flags.js'

interface Place { path: string, parent: Record<string, unknown>, name: string, value: unknown }

/** Every field of a document and of what is in it, but for the payloads of variants, which may be anything. */
function * places (value: unknown, path = ''): Generator<Place> {
  if (typeof value !== 'object' || value === null) return
  const parent = value as Record<string, unknown>
  for (const name of Object.keys(parent)) {
    const place = pointer(path, name)
    yield { path: place, parent, name, value: parent[name] }
    if (!/^\/variants\/[^/]+$/.test(place)) yield * places(parent[name], place)
  }
}

/** Objects whose fields' names are nobody's choice, so that one more is a wrong one. */
const closed = (path: string) => !/^\/(metadata|variants|environments)$|\/split$/.test(path)

t.test('every flag that is put together by the rules is accepted, kept as it was given, and read back whole', (t) => {
  fc.assert(fc.property(arbitraryFlag, (flag) => {
    assert.deepEqual(checkFlag('flag', flag, amongNeighbours), { value: flag })
    assert.deepEqual(readFlag(JSON.stringify(flag)), { value: flag, unknownFields: [] })
  }), { numRuns: 500 })
  t.pass()
  t.end()
})

t.test('one field that is null is the one that is named, and nothing else', (t) => {
  fc.assert(fc.property(arbitraryFlag, fc.nat(), (flag, chosen) => {
    const all = [...places(flag)]
    if (all.length === 0) return
    const { path, parent, name } = all[chosen % all.length]!
    parent[name] = null
    const checked = checkFlag('flag', flag, amongNeighbours)
    assert.deepEqual('details' in checked && checked.details.map(({ path }) => path), [path])
  }), { numRuns: 500 })
  t.pass()
  t.end()
})

t.test('one field that nobody knows is the one that is named; a store\'s reader passes over it and says so', (t) => {
  fc.assert(fc.property(arbitraryFlag, fc.nat(), (flag, chosen) => {
    const objects = [{ path: '', value: flag as unknown }, ...places(flag)].filter(({ path, value }) =>
      typeof value === 'object' && !Array.isArray(value) && closed(path) && !path.startsWith('/variants/'))
    const { path, value } = objects[chosen % objects.length]!
    Object.assign(value as object, { 'x/y~z': true })
    const checked = checkFlag('flag', flag, amongNeighbours)
    const expected = [`${path}/x~1y~0z`]
    assert.deepEqual('details' in checked && checked.details.map(({ path }) => path), expected)
    assert.deepEqual(readFlag(JSON.stringify(flag)), { value: flag, unknownFields: expected })
    assert.deepEqual(loadFlag(JSON.stringify(flag)), { value: flag, unknownFields: [] })
  }), { numRuns: 500 })
  t.pass()
  t.end()
})

t.test('a flag is loaded if and only if it is read, whatever its text', (t) => {
  let refused = 0
  fc.assert(fc.property(arbitraryFlag, fc.array(fc.tuple(fc.nat(), fc.jsonValue(), fc.boolean()), { maxLength: 3 }), (flag, changes) => {
    for (const [chosen, value, added] of changes) {
      const all = [...places(flag)]
      const place = all[chosen % all.length]
      if (place !== undefined) place.parent[added ? 'of-a-later-version' : place.name] = value
    }
    const text = JSON.stringify(flag)
    const read = readFlag(text)
    const loaded = loadFlag(text)
    if ('details' in read) refused++
    assert.deepEqual(loaded, 'details' in read ? read : { value: read.value, unknownFields: 'unknownFields' in loaded && loaded.unknownFields })
  }), { numRuns: 1000 })
  t.ok(refused > 100)
  t.end()
})

t.test('whatever a document is, the checks answer and do not throw', (t) => {
  const spoilt = fc.tuple(arbitraryFlag, fc.nat(), fc.anything()).map(([flag, chosen, value]) => {
    const all = [...places(flag)]
    const place = all[chosen % all.length]
    if (place !== undefined) place.parent[place.name] = value
    return flag
  })
  fc.assert(fc.property(fc.oneof(fc.anything(), spoilt), (document) => {
    const checked = checkFlag('flag', document, amongNeighbours)
    if ('details' in checked) assert.ok(checked.details.length > 0, 'refused without a reason')
    else assert.deepEqual(readFlag(JSON.stringify(checked.value)), { value: checked.value, unknownFields: [] })
  }), { numRuns: 1000 })
  t.pass()
  t.end()
})
