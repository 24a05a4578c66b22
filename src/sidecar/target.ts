import { existsSync } from 'node:fs'
import { UsageError } from './failures.js'
import { chosen, type Env, type Given, type Option } from './options.js'
import { readKey, readRedis } from './settings.js'

/** Where the flags are that a command is about. `url` is that of the admin routes. */
export type Target =
  | { kind: 'url', url: string, token?: string }
  | { kind: 'file', path: string }
  | { kind: 'redis', url: string, namespace: string }

export const targetOptions = {
  url: { value: 'URL', env: ['FLAGS_URL'], help: 'a sidecar, such as http://127.0.0.1:8080, or the admin routes of an app with their prefix, such as https://shop.example/internal/flags; the token stands in FLAGS_TOKEN' },
  file: { value: 'PATH', env: ['FLAGS_FILE'], help: 'a JSON file that no server writes just now (default ./flags.json, if it is there)' },
  redis: { value: 'URL', env: ['FLAGS_REDIS', 'REDIS_URL'], help: 'a Redis, such as redis://localhost:6379, or a Cluster or Sentinels, as serve takes them' },
  namespace: { value: 'NAME', env: ['FLAGS_NAMESPACE'], help: 'which set of flags in that Redis (default flags)' }
} as const satisfies Record<string, Option>

/** `creates` is said where a file that is not there is begun; anywhere else it is probably the wrong folder. */
export function readTarget (given: Map<string, Given>, env: Env, { creates = false }: { creates?: boolean } = {}): Target {
  const place = chosen(given, ['url', 'file', 'redis'], 'places')
  const namespace = given.get('namespace')
  if (namespace?.from === '--namespace' && place !== undefined && place.name !== 'redis') throw new UsageError(`--namespace is one of a Redis, and ${place.from} names none`)
  switch (place?.name) {
    case 'url': return { kind: 'url', url: readUrl(place), token: env.FLAGS_TOKEN || undefined }
    case 'redis': return { kind: 'redis', url: readRedis(place), namespace: readKey(namespace, 'flags') }
    case 'file':
      if (!creates && !existsSync(place.text)) throw new UsageError(`${place.from} is ${place.text}, and there is no such file; fastify-flags import and serve create one`)
      return { kind: 'file', path: place.text }
    case undefined:
      if (!creates && !existsSync('flags.json')) throw new UsageError('say where the flags are: --url http://127.0.0.1:8080 of a server, --redis URL, or --file PATH (there is no flags.json in this folder)')
      return { kind: 'file', path: 'flags.json' }
  }
}

/** An address without a path is a sidecar's, whose admin routes stand under /admin. */
function readUrl ({ text, from }: Given): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) throw new UsageError(`${from} is no address of a server; write it as http://127.0.0.1:8080`)
  if (url.username !== '' || url.password !== '') throw new UsageError(`${from} holds a user or password; leave them out and set FLAGS_TOKEN=secret`)
  const path = url.pathname.replace(/\/+$/, '')
  return url.origin + (path === '' ? '/admin' : path)
}
