import type { StoredFlag } from '../../admin.js'
import { everyFlag, type Client } from '../client.js'
import type { Call } from '../commands.js'
import { describe } from '../describe.js'
import { UsageError } from '../failures.js'
import { nearest } from '../../model/nearest.js'
import { isSwitchedOn } from '../../model/meaning.js'
import { settingOf } from '../setting.js'
import { isFlagsError } from '../../errors.js'
import { styled } from '../terminal.js'
import { withClient } from '../with-client.js'

export async function enable (call: Call): Promise<void> {
  await change('enable', call, async (client, { key }, environment) => await client.switch(key, 'enable', environment))
}

export async function disable (call: Call): Promise<void> {
  await change('disable', call, async (client, { key }, environment) => await client.switch(key, 'disable', environment))
}

export async function set (call: Call): Promise<void> {
  await change('set', call, async (client, flag, environment) => {
    for (let read = flag, attempt = 1; ; attempt++, read = await client.get(flag.key)) {
      try {
        return await client.patch(flag.key, { ...settingOf(read, call.words[1]!, environment), version: read.version })
      } catch (error) { // somebody else changed it just now
        if (!isFlagsError(error) || error.code !== 'FST_FLAGS_VERSION_CONFLICT' || attempt === 5) throw error
      }
    }
  })
}

/** Makes a change and tells what the flag serves now. */
async function change (action: 'enable' | 'disable' | 'set', { words, given, terminal }: Call, make: (client: Client, flag: StoredFlag, environment: string | undefined) => Promise<StoredFlag>): Promise<void> {
  const key = words[0]!
  const environment = given.get('environment')?.text
  await withClient({ given, terminal, key }, async (client) => {
    const before = await client.get(key)
    if (environment !== undefined && !given.has('yes')) await checkEnvironment(client, before, environment)
    const after = await make(client, before, environment)
    if (given.has('json')) return await terminal.out(JSON.stringify(after) + '\n')
    const note = (text: string) => { terminal.err(`${styled(terminal, 'yellow', 'note')}: ${text}\n`) }
    const same = after.version === before.version ? ', as it was' : ''
    await terminal.out(`${styled(terminal, 'bold', key)}  ${describe(after)}  ${styled(terminal, 'dim', `(version ${after.version}${same})`)}\n`)
    if (environment !== undefined && after.environments !== undefined && !Object.hasOwn(before.environments ?? {}, environment)) note(`the flag had no environment ${environment} until now`)
    if (action === 'disable') return
    if (!isSwitchedOn(after)) note(`the flag as a whole is off; to switch it on: fastify-flags enable ${key}`)
    else if (environment !== undefined && after.environments !== undefined && after.environments[environment]?.enabled !== true) note(`the flag is off in ${environment}; to switch it on there: fastify-flags enable ${key} --environment ${environment}`)
  })
}

/** Refuses an environment that the change would create, where that is probably a slip: no flag knows it, but one that is called nearly so. */
async function checkEnvironment (client: Client, flag: StoredFlag, environment: string): Promise<void> {
  if (Object.hasOwn(flag.environments ?? {}, environment)) return
  const known = new Set<string>()
  for await (const { environments = {} } of everyFlag(client)) for (const name of Object.keys(environments)) known.add(name)
  const meant = known.has(environment) ? undefined : nearest(environment, known)
  if (meant !== undefined) throw new UsageError(`no flag knows the environment ${environment}; did you mean ${meant}? If ${environment} is to be a new one, add --yes`)
}
