import type { RolloutReport } from '../../admin.js'
import type { Move, RolloutPlace } from '../../admin/rollouts.js'
import type { Client } from '../client.js'
import type { Call } from '../commands.js'
import { styled, type Terminal } from '../terminal.js'
import { withClient } from '../with-client.js'

/** Tells where a rollout stands. */
export async function rollout (call: Call): Promise<void> {
  await about(call, async (client, key, place) => await client.rollout(key, place))
}

/** Moves a rollout, and tells where it stands then. */
export async function move (call: Call, move: Move): Promise<void> {
  await about(call, async (client, key, place) => {
    await client.move(key, move, place)
    return await client.rollout(key, place)
  })
}

async function about ({ words, given, terminal }: Call, use: (client: Client, key: string, place: RolloutPlace) => Promise<RolloutReport>): Promise<void> {
  const key = words[0]!
  const place = { environment: given.get('environment')?.text, rule: given.get('rule')?.text }
  await withClient({ given, terminal, key }, async (client) => {
    const stands = await use(client, key, place)
    await terminal.out(given.has('json') ? JSON.stringify(stands) + '\n' : tellRollout(stands, terminal))
  })
}

/** Where a rollout stands, for a person; stages are counted from 1, as people do. */
function tellRollout ({ key, environment, rule, status, stage, stages, percentage, groups, since, next, why, guard, moved, version }: RolloutReport, terminal: Pick<Terminal, 'colours'>): string {
  const place = [environment === undefined ? '' : ` in ${environment}`, rule === undefined ? '' : `, rule ${rule}`].join('')
  const lines = [
    `${styled(terminal, 'bold', key)}${place}: ${stage < 0 ? 'before its first stage' : `stage ${stage + 1} of ${stages}, ${percentage} %`}${groups.length === 0 ? '' : ` and groups ${groups.join(', ')}`}`,
    `${status}${why === undefined ? '' : `: ${why}`}`,
    next === null ? '' : `next: ${next.percentage} %${next.at === null ? '' : ` at ${next.at}`}`,
    since === null ? '' : `since ${since}`,
    ...guard === undefined ? [] : tellGuard(guard),
    moved === undefined ? '' : `last moved by ${moved.updatedBy ?? 'somebody'} (${moved.action}) at ${moved.updatedAt}`,
    styled(terminal, 'dim', `version ${version}`)
  ]
  return lines.filter((line) => line !== '').map((line, index) => `${index === 0 ? '' : '  '}${line}\n`).join('')
}

function tellGuard ({ minimum, enough, requests, metrics = {} }: NonNullable<RolloutReport['guard']>): string[] {
  return [
    requests === undefined ? '' : `guard: ${requests.treated} requests with it at this stage, ${enough ? 'enough' : `of ${minimum} that must be seen`}`,
    ...Object.entries(metrics).map(([metric, { control, treated }]) => `${metric}: ${treated.count} of ${treated.of} with it, ${control.count} of ${control.of} without`)
  ]
}
