import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Asker } from '../access.js'
import { keyOf } from '../tokens.js'

type Bearer = NonNullable<Asker>

/** A token's URL is given out anew so often; milliseconds. It counts until the end of the next such time. */
const period = 3_600_000

/** Tokens that stand in the URL of an event stream, for an EventSource sends no headers. */
export interface StreamTokens {
  /** The same text for an hour: clients connect anew when the URL changes. */
  issue (bearer: Bearer): string
  /** Whom a token was issued to, here or by another process with the same secrets, and whether its time is over; undefined when it is none. */
  verify (token: string): { bearer: Bearer, isOver: boolean } | undefined
}

/**
 * A token is `<end of its time>.<whose>.<mac>`. It is signed with a key made of its holder's secret: any process that knows
 * the secret takes it, and none does any more once the secret is withdrawn. Nothing of the secret can be had from it.
 */
export function openStreamTokens (bearers: readonly Bearer[], now: () => number = Date.now): StreamTokens {
  const known = new Map(bearers.map((bearer) => [keyOf(bearer, 'name of a stream token').toString('base64url').slice(0, 8), { bearer, key: keyOf(bearer, 'stream token') }]))
  const names = new Map(Array.from(known, ([name, { bearer }]) => [bearer, name]))
  const issued = new WeakMap<Bearer, { end: number, token: string }>()

  return {
    issue (bearer) {
      const end = Math.floor(now() / period) + 2
      const before = issued.get(bearer)
      if (before?.end === end) return before.token
      const name = names.get(bearer)!
      const said = `${end.toString(36)}.${name}`
      const token = `${said}.${macOf(known.get(name)!.key, said)}`
      issued.set(bearer, { end, token })
      return token
    },
    verify (token) {
      const [, said, end, name, mac] = /^(([0-9a-z]{1,8})\.([\w-]{8}))\.([\w-]{22})$/.exec(token) ?? []
      const holder = name === undefined ? undefined : known.get(name)
      if (holder === undefined || !timingSafeEqual(Buffer.from(mac!), Buffer.from(macOf(holder.key, said!)))) return undefined
      return { bearer: holder.bearer, isOver: parseInt(end!, 36) * period <= now() }
    }
  }
}

function macOf (key: Buffer, said: string): string {
  return createHmac('sha256', key).update(said).digest('base64url').slice(0, 22)
}
