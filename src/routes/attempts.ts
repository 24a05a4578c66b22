import { isIPv6 } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest, RawServerBase } from 'fastify'
import { errors } from '../errors.js'
import { keyOf, type Bearer } from './tokens.js'

/*
 * Failed tokens are counted by the peer's address: never by `request.ip`, which a client could choose where proxies are
 * trusted too widely. After 20 at once, or 10 a minute, an address is heard no more until some time has passed; whoever has
 * already been let in from there with the same token is let in still, so that nobody behind a shared proxy is locked out by a
 * neighbour. (It makes guessing slow. What makes it hopeless is the length of a secret.)
 */
const burst = 20
const perMinute = 10

/** So many addresses are remembered at most; then the oldest are forgotten. About 2 MB. */
const mostAddresses = 10_000
/** Of each token, from where it was accepted. */
const mostPlaces = 1000

export interface Attempts {
  /** To be called with whom a token is known for. Throws TOO_MANY_ATTEMPTS where it is not to be heard. */
  admit (request: FastifyRequest, reply: FastifyReply, bearer: Bearer<string>): void
  /** Counts a token that nobody knows. Throws TOO_MANY_ATTEMPTS when there were too many. */
  fail (request: FastifyRequest, reply: FastifyReply): void
}

const counts = new WeakMap<RawServerBase, Attempts>()

/** The one count of an app: whichever of its routes are tried, an address has 20 tries. */
export function attemptsOf ({ server }: FastifyInstance): Attempts {
  let attempts = counts.get(server)
  if (attempts === undefined) counts.set(server, attempts = countAttempts())
  return attempts
}

interface Account { failures: number, since: number, told: boolean }

/** `now`: monotonic milliseconds. */
export function countAttempts (now: () => number = () => performance.now()): Attempts {
  const accounts = new Map<string, Account>()
  const places = new WeakMap<Bearer<string>, Set<string>>()
  const placesBySecret = new Map<string, Set<string>>()

  /** From where a token was accepted, by whichever routes: each group of them has its own bearer for it. */
  function placesOf (bearer: Bearer<string>): Set<string> {
    let known = places.get(bearer)
    if (known === undefined) {
      const secret = keyOf(bearer, 'places').toString('base64')
      known = placesBySecret.get(secret) ?? new Set()
      placesBySecret.set(secret, known)
      places.set(bearer, known)
    }
    return known
  }

  /** The failures of an address that are not yet forgiven. */
  function standing (address: string): Account | undefined {
    const account = accounts.get(address)
    if (account === undefined) return undefined
    const forgiven = Math.floor((now() - account.since) / 60_000 * perMinute)
    if (forgiven > 0) {
      account.failures -= forgiven
      account.since += forgiven / perMinute * 60_000
    }
    if (account.failures > 0) return account
    accounts.delete(address)
    return undefined
  }

  function refuse (reply: FastifyReply, { since }: Account): never {
    const seconds = Math.max(1, Math.ceil((since + 60_000 / perMinute - now()) / 1000))
    reply.header('retry-after', seconds)
    throw new errors.TOO_MANY_ATTEMPTS(seconds)
  }

  return {
    admit (request, reply, bearer) {
      const address = addressOf(request)
      const known = placesOf(bearer)
      if (known.has(address)) return
      const account = standing(address)
      if (account !== undefined && account.failures >= burst) refuse(reply, account)
      if (known.size === mostPlaces) known.delete(known.values().next().value!)
      known.add(address)
    },
    fail (request, reply) {
      const address = addressOf(request)
      let account = standing(address)
      if (account === undefined) {
        if (accounts.size === mostAddresses) accounts.delete(accounts.keys().next().value!)
        accounts.set(address, account = { failures: 0, since: now(), told: false })
      }
      if (account.failures >= burst) refuse(reply, account)
      if (++account.failures < burst || account.told) return
      account.told = true
      request.log.warn({ remoteAddress: request.raw.socket.remoteAddress }, `fastify-flags: ${burst} unknown tokens came from this address; it is heard only now and then`)
    }
  }
}

/** The peer's address; of IPv6 the network, for one host may have all of that. A unix socket has none. */
function addressOf (request: FastifyRequest): string {
  const address = request.raw.socket.remoteAddress ?? ''
  if (!isIPv6(address)) return address
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  const [head = '', tail] = address.split('%')[0]!.split('::')
  const groups = head.split(':').filter((group) => group !== '')
  const after = tail === undefined ? [] : tail.split(':').filter((group) => group !== '')
  const zeros = new Array<string>(Math.max(0, 8 - groups.length - after.length)).fill('0')
  return [...groups, ...zeros, ...after].slice(0, 4).join(':')
}
