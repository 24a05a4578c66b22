import { isFlagsError } from '../errors.js'
import { nearest } from '../model/nearest.js'
import { everyFlag, openClient, type Client } from './client.js'
import type { Call } from './commands.js'
import { styled } from './terminal.js'
import { readTarget } from './target.js'

/** Uses the service where the flags are, and closes it. When there is no flag `key`, the error says which one was probably meant. */
export async function withClient ({ given, terminal, key, creates }: Pick<Call, 'given' | 'terminal'> & { key?: string, creates?: boolean }, use: (client: Client) => Promise<void>): Promise<void> {
  const client = await openClient(readTarget(given, terminal.env, { creates }), (text) => { terminal.err(`${styled(terminal, 'yellow', 'warning')}: ${text}\n`) })
  try {
    await use(client)
  } catch (error) {
    throw key !== undefined && isFlagsError(error) && error.code === 'FST_FLAGS_FLAG_NOT_FOUND' ? await named(client, key, error) : error
  } finally {
    await client.close()
  }
}

async function named (client: Client, key: string, error: Error & { code: string }): Promise<Error> {
  const keys: string[] = []
  try {
    for await (const flag of everyFlag(client)) keys.push(flag.key)
  } catch {
    return error // what is wrong was said
  }
  const meant = nearest(key, keys)
  const hint = meant !== undefined ? `; did you mean ${meant}?` : keys.length === 0 ? '; there are none yet' : '; fastify-flags list shows all'
  return Object.assign(new Error(error.message + hint), { code: error.code })
}
