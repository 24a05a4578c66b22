import { createHash, randomBytes } from 'node:crypto'
import type { Snapshot } from '../evaluation/snapshot.js'
import type { Known } from './documents.js'

const stamps = new WeakMap<Snapshot, string>()
const own = randomBytes(12).toString('base64url')
let unplaced = 0

/**
 * What names a snapshot's contents, such as `4711-9cX_5b…`: the store's revision, and a hash of where the store stood. Processes
 * that serve the same contents of one store have the same; where contents differ, or cannot be compared, it differs.
 */
export function stampOf (snapshot: Snapshot): string {
  let stamp = stamps.get(snapshot)
  if (stamp === undefined) stamps.set(snapshot, stamp = `0-${own}${unplaced++}`) // a bootstrap's, or of nothing
  return stamp
}

/** To be called with what is served, each time the store has confirmed it. */
export function stamp ({ snapshot, position, damage }: Known): void {
  if (position === undefined) return
  const { epoch, revision, token } = position
  // Of a document that cannot be read each process keeps the last it could.
  const place = JSON.stringify([epoch, revision, token, damage.size > 0 ? own : ''])
  stamps.set(snapshot, `${revision}-${createHash('sha256').update(place).digest('base64url').slice(0, 16)}`)
}

/** The revision that a stamp was made at, 0 when it cannot be told. */
export function revisionOf (stamp: string): number {
  return Number(/^(\d{1,15})-/.exec(stamp)?.[1] ?? 0)
}
