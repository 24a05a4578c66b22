import { isFlagsError } from '../../errors.js'
import { everyFlag, type Client } from '../client.js'
import type { Call } from '../commands.js'
import { UsageError } from '../failures.js'
import { withoutPassword } from '../report.js'
import { readTarget, type Target } from '../target.js'
import { withClient } from '../with-client.js'

/** Removes all flags and segments, for good. */
export async function reset (call: Call): Promise<void> {
  const { given, terminal } = call
  const target = readTarget(given, terminal.env)
  const where = placeOf(target)
  if (!given.has('yes')) throw new UsageError(`this removes all flags and segments ${target.kind === 'redis' ? 'and their history ' : ''}of ${where}, for every process that serves them; add --yes if that is meant`)
  const removed = target.kind === 'redis' ? await resetRedis(target) : await removeAll(call)
  await terminal.out(given.has('json') ? JSON.stringify({ removed }) + '\n' : `${removed} flags and segments were removed from ${where}${target.kind === 'redis' ? '; versions go on where they stood' : ''}\n`)
}

function placeOf (target: Target): string {
  switch (target.kind) {
    case 'redis': return `namespace ${target.namespace} at ${withoutPassword(target.url)}`
    case 'file': return target.path
    case 'url': return target.url
  }
}

/** All at once, and in a way that tells every process not to put anything back. */
async function resetRedis ({ url, namespace }: Target & { kind: 'redis' }): Promise<number> {
  const { RedisStore } = await import('../../store/redis.js')
  const store = new RedisStore({ redis: url, namespace })
  try {
    return await store.reset('fastify-flags reset')
  } finally {
    await store.close()
  }
}

/** One by one, whatever nothing else needs first. */
async function removeAll ({ given, terminal }: Call): Promise<number> {
  let removed = 0
  await withClient({ given, terminal }, async (client) => {
    const left = await everything(client)
    for (let before = -1; left.size !== before;) {
      before = left.size
      for (const one of left) {
        if (!await isRemoved(client, one)) continue
        left.delete(one)
        removed++
      }
    }
  })
  return removed
}

interface Named { kind: 'flag' | 'segment', key: string }

async function everything (client: Client): Promise<Set<Named>> {
  const all = new Set<Named>()
  for await (const { key } of everyFlag(client)) all.add({ kind: 'flag', key })
  for (let after: string | undefined; ;) {
    const { segments, next } = await client.listSegments({ after })
    for (const { key } of segments) all.add({ kind: 'segment', key })
    if (next === undefined) return all
    after = next
  }
}

async function isRemoved (client: Client, { kind, key }: Named): Promise<boolean> {
  try {
    await client.delete(kind, key)
    return true
  } catch (error) {
    if (isFlagsError(error) && error.code === 'FST_FLAGS_IN_USE') return false
    throw error
  }
}
