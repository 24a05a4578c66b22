import type { RedisOptions } from 'ioredis'

/** A Redis written as one text, as it stands in an option, a variable or on a command line. */
export type RedisText = {
  /** For people: without passwords, and without a query, where ioredis takes one too. */
  shown: string
  hasPassword: boolean
} & ({ kind: 'server', url: string } | { kind: 'cluster', nodes: string[], username?: string, password?: string } | { kind: 'sentinels', options: RedisOptions })

/** What is wrong with a text, to be read after its name; it repeats nothing of the text, which may hold a password. */
export interface RedisTextFault { fault: string }

const aServer = 'is no URL of a Redis; write it as redis://localhost:6379 (rediss:// with TLS)'
const aCluster = 'a Cluster is written with a URL for each node, such as redis://10.0.0.1:6379,redis://10.0.0.2:6379'
const theSentinels = 'Sentinels are written as sentinel://10.0.0.1:26379,10.0.0.2:26379/mymaster, with the name they know the primary by'

/**
 * `redis://[user:password@]host:6379[/0]` or the path of a socket is one server, several such URLs with commas between are nodes
 * of a Cluster, and `sentinel://[user:password@]host:26379,host:26379/name[/0]` asks Sentinels for the primary of a name; with
 * `rediss://` and `sentinels://` all of it is encrypted. What needs more is said in an object.
 */
export function readRedisText (text: string): RedisText | RedisTextFault {
  if (/^\/[^/]/.test(text)) return { kind: 'server', url: text, shown: text.replace(/\?.*/s, ''), hasPassword: /[?&](?:sentinelP|p)assword=/.test(text) }
  if (/^sentinels?:\/\//i.test(text)) return readSentinels(text)
  if (/^[\w+-]*sentinel[\w+-]*:\/\//i.test(text)) return { fault: `is no URL of a Redis; ${theSentinels}` }
  if (/^[\w+-]*cluster[\w+-]*:\/\//i.test(text)) return { fault: `is no URL of a Redis; ${aCluster}` }
  // A password may hold a comma.
  const parts = text.split(/\s*,\s*(?=\w+:\/\/)/)
  const urls: URL[] = []
  for (const part of parts) {
    if (!/^rediss?:\/\//i.test(part)) return { fault: aServer }
    if (!URL.canParse(part) || new URL(part).hostname.includes(',')) {
      const several = /,[^@]*$/.test(part)
      return { fault: several ? `names several servers in one URL; ${/:26379\b/.test(part) ? theSentinels : aCluster}` : aServer }
    }
    const url = new URL(part)
    const fault = faultOf(url)
    if (fault !== undefined) return { fault }
    urls.push(url)
  }
  const shown = urls.map((url) => withoutSecrets(url)).join(',')
  const hasPassword = urls.some(({ password, searchParams }) => password !== '' || searchParams.has('password'))
  if (parts.length === 1) return { kind: 'server', url: text, shown, hasPassword }

  if (new Set(urls.map(({ protocol }) => protocol)).size > 1) return { fault: 'mixes redis:// and rediss://; the nodes of a Cluster are reached with TLS, or without' }
  if (urls.some(({ pathname }) => pathname.length > 1)) return { fault: 'gives a node of a Cluster the number of a database; a Cluster has one only, so leave it out' }
  if (urls.some(({ search }) => search !== '')) return { fault: 'gives a node of a Cluster options behind a "?", which mean nothing here; leave them out' }
  const users = new Set(urls.filter(({ username, password }) => username !== '' || password !== '').map(({ username, password }) => `${username}:${password}`))
  if (users.size > 1) return { fault: 'gives the nodes of a Cluster different users or passwords; write the one that counts for all in the first URL' }
  const known = urls.find(({ username, password }) => username !== '' || password !== '')
  return { kind: 'cluster', nodes: parts, shown, hasPassword, ...known && credentialsOf(known) }
}

function readSentinels (text: string): RedisText | RedisTextFault {
  const [, scheme, user = '', list, name, db, query = ''] = /^(sentinels?):\/\/(?:([^/]*)@)?([^/?]*)(?:\/([^/?]+))?(?:\/(\d+))?\/?(?:\?(.*))?$/i.exec(text) ?? []
  if (scheme === undefined || list === undefined) return { fault: `cannot be read; ${theSentinels}` }
  if (name === undefined) return { fault: `leaves out the name that the Sentinels know the primary by; ${theSentinels.replace(/, with.*/, '')}` }
  const hosts = list.split(',').map((host) => host.trim())
  if (!hosts.every((host) => host !== '' && !host.includes('@') && URL.canParse(`redis://${host}`))) return { fault: `cannot be read; ${theSentinels}` }
  const parameters = new URLSearchParams(query)
  if ([...parameters.keys()].some((key) => key !== 'sentinelUsername' && key !== 'sentinelPassword')) {
    return { fault: 'has options behind its "?" that mean nothing here; there are sentinelUsername and sentinelPassword, for Sentinels that ask for one of their own' }
  }
  const url = new URL(`redis://${user === '' ? '' : `${user}@`}localhost`)
  const fault = faultOf(url)
  if (fault !== undefined) return { fault }
  const tls = scheme.toLowerCase() === 'sentinels'
  const options: RedisOptions = {
    sentinels: hosts.map((host) => new URL(`redis://${host}`)).map(({ hostname, port }) => ({ host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? 26379 : Number(port) })),
    name: decoded(name) ?? name,
    ...db !== undefined && { db: Number(db) },
    ...credentialsOf(url),
    ...Object.fromEntries(parameters),
    ...tls && { tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true }
  }
  const who = user === '' ? '' : withoutSecrets(url).replace(/^redis:\/\/(.*@)?.*$/, '$1')
  return { kind: 'sentinels', options, shown: `${scheme}://${who}${hosts.join(',')}/${name}${db === undefined ? '' : `/${db}`}`, hasPassword: url.password !== '' || parameters.has('sentinelPassword') }
}

function faultOf ({ username, password, pathname }: URL): string | undefined {
  if (decoded(username) === undefined || decoded(password) === undefined) return 'has a "%" in its user or password that begins no percent-encoding; write it as %25'
  if (!/^(?:\/\d*)?$/.test(pathname)) return 'ends in what is no number of a database; write it as redis://localhost:6379/0, or leave it out'
  return undefined
}

function credentialsOf ({ username, password }: URL): { username?: string, password?: string } {
  return { ...username !== '' && { username: decoded(username) }, ...password !== '' && { password: decoded(password) } }
}

function decoded (text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

function withoutSecrets (url: URL): string {
  const shown = new URL(url)
  if (shown.password !== '') shown.password = '***'
  shown.search = shown.hash = ''
  return shown.href
}
