import { randomUUID } from 'node:crypto'
import type { Flag } from '../../src/model/flag.js'
import type { Segment } from '../../src/model/segment.js'
import { Memory } from '../../src/store/memory.js'
import type { Kind, Written } from '../../src/store/store.js'

/** Writes whatever is given, as anything but this package's admin could; null removes. */
export function write (memory: Memory, key: string, document: string | null, kind: Kind = 'flag'): Written {
  const [last] = memory.log.history({ kind, key, limit: 1 }).changes
  const expected = last === undefined || last.document === null ? 0 : last.version
  return memory.write({ kind, key, document, expected, epoch: memory.log.position.epoch, by: 'alice', id: randomUUID() })
}

export function memoryOf (flags: Record<string, Flag>, segments: Record<string, Segment> = {}): Memory {
  const memory = new Memory()
  for (const [key, segment] of Object.entries(segments)) write(memory, key, JSON.stringify(segment), 'segment')
  for (const [key, flag] of Object.entries(flags)) write(memory, key, JSON.stringify(flag))
  return memory
}
