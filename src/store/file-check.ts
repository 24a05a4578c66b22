import { errors } from '../errors.js'
import { checkFlag, checkSegment, loadFlag } from '../model/check.js'
import type { Flag } from '../model/flag.js'
import { pointer } from '../model/json.js'
import { membershipsOf, type Member } from '../model/layer.js'
import type { Segment } from '../model/segment.js'
import type { FlagsText } from './file-text.js'
import type { Change, Kind } from './store.js'

/** How many faults an error tells. */
const told = 5

/** Throws STORE_DAMAGED when a document that a person changed is not valid among those of the same file: nothing of the edit is taken over then. */
export function assertValid (path: string, text: FlagsText, changes: readonly Change[]): void {
  const parsed = new Map<string, unknown>()
  const other = (kind: Kind, key: string): unknown => {
    const name = `${kind}:${key}`
    const written = text.get(kind, key)
    if (!parsed.has(name)) parsed.set(name, written === undefined ? undefined : JSON.parse(written))
    return parsed.get(name)
  }
  let memberships: Member[] | undefined
  const others = {
    flag: (key: string) => other('flag', key) as Flag | undefined,
    segment: (key: string) => other('segment', key) as Segment | undefined,
    layer: (name: string) => (memberships ??= membershipsAmong(text)).filter(({ layer }) => layer === name)
  }
  const faults: string[] = []
  for (const { kind, key, document } of changes) {
    if (document === null) continue
    const checked = kind === 'flag' ? checkFlag(key, JSON.parse(document), others) : checkSegment(key, JSON.parse(document), others)
    if ('value' in checked) continue
    for (const fault of checked.details) faults.push(`${pointer(`/${kind}s`, key)}${fault.path} ${fault.message}`)
    if (faults.length > told) break
  }
  if (faults.length > 0) throw new errors.STORE_DAMAGED(`${path} does not hold what is valid: ${faults.slice(0, told).join('; ')}${faults.length > told ? '; and more' : ''}; nothing of it was taken over`)
}

/** Of what can be read; most flags have no layer, and are not parsed. */
function membershipsAmong (text: FlagsText): Member[] {
  return [...text.documents()].flatMap(({ kind, key, text }) => {
    const read = kind === 'flag' && text.includes('"layer"') ? loadFlag(text) : undefined
    return read !== undefined && 'value' in read ? membershipsOf(key, read.value) : []
  })
}
