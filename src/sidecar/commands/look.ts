import type { FlagVersion } from '../../admin/history.js'
import { everyFlag } from '../client.js'
import type { Call } from '../commands.js'
import { describe } from '../describe.js'
import { UsageError } from '../failures.js'
import { ago, columns, styled } from '../terminal.js'
import { readDuration } from '../../routes/query.js'
import { isFlagsError, textOf } from '../../errors.js'
import { withClient } from '../with-client.js'

export async function list ({ given, terminal }: Call): Promise<void> {
  const [tag, owner, q, stale] = ['tag', 'owner', 'q', 'stale'].map((name) => given.get(name)?.text)
  try {
    readDuration('--stale', stale)
  } catch (error) {
    throw isFlagsError(error) ? new UsageError(textOf(error)) : error
  }
  await withClient({ given, terminal }, async (client) => {
    const flags = []
    for await (const flag of everyFlag(client, { tag, owner, q, stale })) flags.push(flag)
    if (given.has('json')) return await terminal.out(JSON.stringify({ flags }) + '\n')
    if (flags.length === 0) return terminal.err(tag ?? owner ?? q ?? stale ? 'no flag matches\n' : 'there are no flags yet; fastify-flags import brings some\n')
    const dim = (text: string) => styled(terminal, 'dim', text)
    const rows = flags.map((flag) => {
      const serves = describe(flag)
      return [
        styled(terminal, 'bold', flag.key),
        serves === 'off' ? dim(serves) : serves,
        flag.stale === undefined ? '' : `${flag.stale.reason} since ${flag.stale.since.slice(0, 10)}`,
        flag.owner ?? '',
        (flag.tags ?? []).join(', '),
        dim(`${ago(flag.updatedAt)}${flag.updatedBy === undefined ? '' : ` by ${flag.updatedBy}`}`)
      ]
    })
    await terminal.out(columns(['FLAG', 'SERVES', 'STALE', 'OWNER', 'TAGS', 'CHANGED'].map(dim), rows))
  })
}

export async function get ({ words: [key], given, terminal }: Call): Promise<void> {
  await withClient({ given, terminal, key }, async (client) => {
    await terminal.out(JSON.stringify(await client.get(key!), undefined, given.has('json') ? undefined : 2) + '\n')
  })
}

export async function history ({ words: [key], given, terminal }: Call): Promise<void> {
  const text = given.get('limit')?.text ?? '20'
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : NaN
  if (!(limit >= 1 && limit <= 1000)) throw new UsageError(`--limit is "${text}"; it is a whole number from 1 to 1000`)
  await withClient({ given, terminal, key }, async (client) => {
    const answer = key === undefined ? await client.changes({ limit }) : await client.history(key, { limit })
    if (given.has('json')) return await terminal.out(JSON.stringify(answer) + '\n')
    const dim = (text: string) => styled(terminal, 'dim', text)
    const rows = 'changes' in answer
      ? answer.changes.map((change) => [change, `${change.kind} ${change.key}${change.deleted ? ' was removed' : ''}`] as const)
      : answer.history.map((version) => [version, describeVersion(version)] as const)
    if (rows.length === 0) return terminal.err('nothing was changed yet\n')
    await terminal.out(columns(['VERSION', 'WHEN', 'WHO', 'WHAT'].map(dim), rows.map(([{ version, updatedAt, updatedBy }, what]) =>
      [String(version), updatedAt.replace(/\.\d+Z$/, 'Z'), updatedBy ?? '', what])))
    if (answer.next !== undefined) terminal.err(`there is more; --limit ${Math.min(1000, limit * 10)} shows more\n`)
  })
}

function describeVersion ({ flag, updatedAt }: FlagVersion): string {
  return flag === null ? 'removed' : describe(flag, Date.parse(updatedAt))
}
