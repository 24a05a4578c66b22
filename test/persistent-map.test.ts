import fc from 'fast-check'
import t from 'tap'
import { PersistentMap } from '../src/evaluation/persistent-map.js'

type Updates = Map<string, number | undefined>

/** The same update to a plain copy. */
function updated (map: ReadonlyMap<string, number>, updates: Updates): Map<string, number> {
  const copy = new Map(map)
  for (const [key, value] of updates) {
    if (value === undefined) copy.delete(key)
    else copy.set(key, value)
  }
  return copy
}

const sorted = (values: Iterable<number>) => [...values].sort((a, b) => a - b)

t.test('every version answers as a copy made at its time would, whatever came after', async (t) => {
  const keys = fc.constantFrom('a', 'b', 'c', 'd', '__proto__', 'constructor', '')
  const updates = fc.array(fc.tuple(keys, fc.option(fc.nat(), { nil: undefined })), { maxLength: 4 }).map((entries): Updates => new Map(entries))
  fc.assert(fc.property(fc.array(fc.tuple(keys, fc.nat())), fc.array(updates, { maxLength: 30 }), (initial, changes) => {
    const versions = [{ map: new PersistentMap(new Map<string, number>(initial)), copy: new Map<string, number>(initial) }]
    for (const change of changes) {
      const { map, copy } = versions.at(-1)!
      versions.push({ map: map.with(change), copy: updated(copy, change) })
    }
    for (const { map, copy } of versions) {
      for (const key of ['a', 'b', 'c', 'd', '__proto__', 'constructor', '', 'never']) if (map.get(key) !== copy.get(key)) return false
      if (sorted(map.values()).join() !== sorted(copy.values()).join()) return false
    }
    return true
  }))
})

t.test('old versions keep their answers over 10,000 updates', async (t) => {
  let random = 1
  const next = (below: number) => (random = Math.imul(random, 1103515245) + 12345 >>> 0) % below
  let copy = new Map(Array.from({ length: 500 }, (_, i) => [`k${i}`, i]))
  let map = new PersistentMap(new Map(copy))
  const kept: Array<{ map: PersistentMap<number>, copy: Map<string, number> }> = []
  for (let i = 0; i < 10_000; i++) {
    if (i % 700 === 0) kept.push({ map, copy })
    const updates: Updates = new Map([[`k${next(600)}`, next(4) === 0 ? undefined : i]])
    map = map.with(updates)
    copy = updated(copy, updates)
  }
  kept.push({ map, copy })
  for (const { map, copy } of kept) {
    t.same(Array.from({ length: 600 }, (_, i) => map.get(`k${i}`)), Array.from({ length: 600 }, (_, i) => copy.get(`k${i}`)))
    t.same(sorted(map.values()), sorted(copy.values()))
  }
})

t.test('one update of more entries than a generation holds', async (t) => {
  const before = new PersistentMap(new Map([['k1', -1]]))
  const after = before.with(new Map(Array.from({ length: 5000 }, (_, i) => [`k${i}`, i])))
  const later = after.with(new Map([['k1', undefined]]))
  t.same([before.get('k1'), before.get('k2'), after.get('k1'), after.get('k4999'), later.get('k1'), later.get('k2')], [-1, undefined, 1, 4999, undefined, 2])
})

t.test('only the newest version can be updated, and an update of nothing is the same version', async (t) => {
  const first = new PersistentMap<number>()
  t.equal(first.with(new Map()), first)
  first.with(new Map([['a', 1]]))
  t.throws(() => first.with(new Map([['b', 2]])), /newest version/)
})

t.test('a version nobody holds is collected', async (t) => {
  const { setFlagsFromString } = await import('node:v8')
  const { runInNewContext } = await import('node:vm')
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  let map = new PersistentMap<number>()
  const old = new WeakRef(map)
  for (let i = 0; i < 10; i++) map = map.with(new Map([['a', i]]))
  await new Promise((resolve) => { setImmediate(resolve) }) // a WeakRef keeps what was read in the same turn
  collect()
  t.equal(old.deref(), undefined)
  t.equal(map.get('a'), 9)
})
