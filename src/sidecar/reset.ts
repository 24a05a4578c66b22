import { RedisStore } from '../index.js'
import { isKey } from '../model/key.js'
import { UsageError, StartError } from './failures.js'
import { readOptions, type Env } from './options.js'
import { withoutPassword } from './report.js'
import { readRedis, resetOptions } from './settings.js'

/** Removes all flags of a namespace, for good: no process puts them back. Resolves to what to tell. */
export async function reset (argv: readonly string[], env: Env): Promise<string> {
  const given = readOptions(resetOptions, argv, env)
  const redis = given.get('redis')
  const namespace = given.get('namespace')?.text ?? 'flags'
  if (redis === undefined) throw new UsageError('say which Redis: fastify-flags reset --redis redis://localhost:6379 --yes')
  const url = readRedis(redis)
  if (!isKey(namespace)) throw new UsageError(`${given.get('namespace')!.from} is "${namespace}"; use 1 to 100 letters, digits, ".", "_", ":" or "-", beginning with a letter or digit`)
  const where = `namespace ${namespace} at ${withoutPassword(url)}`
  if (!given.has('yes')) throw new UsageError(`this removes all flags, segments and their history of ${where}, for every process that serves them; add --yes if that is meant`)
  const store = new RedisStore({ redis: url, namespace })
  try {
    const count = await store.reset('fastify-flags reset')
    return `${count} flags and segments were removed from ${where}; versions go on where they stood`
  } catch (error) {
    throw new StartError((error as Error).message)
  } finally {
    await store.close()
  }
}
