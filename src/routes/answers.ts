import type { FastifyReply } from 'fastify'
import type { Outcome } from '../evaluation/details.js'
import type { FlagEntry, Snapshot } from '../evaluation/snapshot.js'

// Hot: outcomes are frozen and made once, so each is written as JSON once, and an answer joins two texts.
const written = new WeakMap<Outcome, { full: string, brief: string }>()

/** A flag's answer as JSON. `brief` leaves out why: who sees what a browser is answered need not know the rules. */
export function toJson (key: string, outcome: Outcome, brief: boolean): string {
  let texts = written.get(outcome)
  if (texts === undefined) written.set(outcome, texts = write(outcome))
  return `{"key":"${key}",${brief ? texts.brief : texts.full}` // a key needs no escaping
}

function write ({ enabled, details }: Outcome): { full: string, brief: string } {
  const { value = null, variant, reason, errorCode, errorMessage, flagMetadata: { cause, rule, environment, version } } = details
  return {
    full: JSON.stringify({ enabled, value, variant, reason, cause, rule, errorCode, errorMessage, environment, version }).slice(1),
    brief: JSON.stringify({ enabled, value, variant, reason, errorCode, environment, version }).slice(1)
  }
}

const order = new WeakMap<Snapshot, FlagEntry[]>()

/** A snapshot's flags by key. A snapshot never changes, so this is done once for each that is listed. */
export function sorted (snapshot: Snapshot): FlagEntry[] {
  let entries = order.get(snapshot)
  if (entries === undefined) {
    entries = [...snapshot.flags()].sort((a, b) => a.key < b.key ? -1 : 1)
    order.set(snapshot, entries)
  }
  return entries
}

/** Answers what is JSON already. It is for whoever asked alone, and to be asked for again. */
export function sendJson (reply: FastifyReply, json: string | Buffer): FastifyReply {
  reply.header('cache-control', 'private, no-cache')
  reply.type('application/json; charset=utf-8')
  return reply.send(json)
}
