import { BlockList, isIP, type Socket } from 'node:net'
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'

/**
 * Whose identity headers count, by the peer at the other end of the connection; `request.ip` and what it is made from are never asked.
 * - `'local'`: a loopback address or a unix socket, unless the request carries a mark of a proxy (`forwarded`, `via`, `x-real-ip`, `x-forwarded-*`).
 * - `false`: nobody's.
 * - a list of addresses and CIDR ranges: of the proxies that overwrite these headers.
 * - `'all'`: everybody's.
 * - a function: called once for each connection; only `true` counts.
 */
export type Trust = 'local' | 'all' | false | readonly string[] | ((socket: Socket) => boolean)

/** Whether the identity headers of a request count. */
export type IsTrusted = (request: FastifyRequest) => boolean

export function compileTrust (trust: Trust, log: FastifyBaseLogger): IsTrusted {
  if (trust === 'all') return () => true
  if (trust === false) return () => false
  if (trust === 'local') {
    const isLocal = oncePerSocket((socket) => isUnixSocket(socket) || isLoopback(socket.remoteAddress))
    return (request) => isLocal(request.raw.socket) && !isMarkedByProxy(request.raw.headers)
  }
  const judge = oncePerSocket(typeof trust === 'function' ? guarded(trust, log) : inRanges(trust))
  return (request) => judge(request.raw.socket)
}

/** In words, for the log at the start: the end of "identity headers count …". */
export function describeTrust (trust: Trust): string {
  if (trust === 'all') return 'from everybody'
  if (trust === false) return 'from nobody'
  if (trust === 'local') return 'from this machine only, without a mark of a proxy'
  return typeof trust === 'function' ? 'from the peers that the function given as trust accepts' : `from ${trust.join(', ') || 'nobody'}`
}

// A connection keeps its peer, and a function of the app's own may be slow.
function oncePerSocket (judge: (socket: Socket) => boolean): (socket: Socket) => boolean {
  const verdict = Symbol('fastify-flags.trusted')
  return (socket: Socket & { [verdict]?: boolean }) => {
    try {
      return (socket[verdict] ??= judge(socket))
    } catch {
      return false // of a closed HTTP/2 session there is no socket left to ask
    }
  }
}

function inRanges (ranges: readonly string[]): (socket: Socket) => boolean {
  const list = new BlockList()
  for (const range of ranges) {
    const { address, prefix, family } = parseRange(range)! // checked with the options
    list.addSubnet(address, prefix, family)
  }
  return ({ remoteAddress }) => {
    if (remoteAddress === undefined) return false
    const address = withoutZone(remoteAddress)
    return list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
  }
}

function guarded (trust: (socket: Socket) => boolean, log: FastifyBaseLogger): (socket: Socket) => boolean {
  let told = false
  const tell = (fields: object, message: string) => {
    if (!told) log.error(fields, message)
    told = true
  }
  return (socket) => {
    try {
      const verdict: unknown = trust(socket)
      if (typeof verdict !== 'boolean') tell({}, `fastify-flags: the function given as trust must return true or false, it returned ${verdict instanceof Promise ? 'a promise' : typeof verdict}; identity headers are ignored`)
      return verdict === true
    } catch (err) {
      tell({ err }, 'fastify-flags: the function given as trust threw; identity headers are ignored')
      return false
    }
  }
}

// A TCP connection that is already gone has no remote address either: only a server that listens on a path has unix sockets.
function isUnixSocket (socket: Socket & { server?: { address?: () => unknown } }): boolean {
  return socket.remoteAddress === undefined && typeof socket.server?.address?.() === 'string'
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

function isLoopback (address: string | undefined): boolean {
  return address !== undefined && loopback.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
}

function isMarkedByProxy (headers: object): boolean {
  if ('forwarded' in headers || 'via' in headers || 'x-real-ip' in headers) return true
  for (const name in headers) if (name.startsWith('x-forwarded')) return true
  return false
}

function withoutZone (address: string): string {
  const zone = address.indexOf('%')
  return zone === -1 ? address : address.slice(0, zone)
}

/** Reads `10.0.0.0/8`, `2001:db8::/32` or one address; undefined when it is none of these. */
export function parseRange (range: string): { address: string, prefix: number, family: 'ipv4' | 'ipv6' } | undefined {
  const [address = '', written, ...rest] = range.split('/')
  const version = isIP(address)
  const widest = version === 6 ? 128 : 32
  const prefix = written === undefined ? widest : /^\d{1,3}$/.test(written) ? Number(written) : NaN
  if (version === 0 || address.includes('%') || rest.length > 0 || !(prefix <= widest)) return undefined
  return { address, prefix, family: version === 6 ? 'ipv6' : 'ipv4' }
}
