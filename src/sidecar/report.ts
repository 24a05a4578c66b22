import { resolve } from 'node:path'
import type { FastifyFlags } from '../facade.js'
import { describeTrust } from '../plugin/trust.js'
import { readRedisText } from '../store/redis-text.js'
import { version } from './help.js'
import { isEmpty, type EvaluationTokens, type Settings } from './settings.js'

/** What a person should know once it listens: where, from what, for whom, what is closed and how to open it. */
export function report ({ store, environment, trust, tokens, open, dev, warnings }: Settings, url: string, flags: FastifyFlags): string {
  const keys = [...flags.for().snapshot.flags()].map(({ key }) => key).sort()
  const lines = [
    ['store', store.kind === 'redis' ? withoutPassword(store.url) : store.kind === 'file' ? resolve(store.path) : 'memory: what is changed is gone at the end'],
    ['environment', environment],
    ['flags', flags.status === 'NOT_READY' ? `none yet, and it keeps trying: ${flags.problem?.message ?? 'the store has not answered'}` : String(keys.length)],
    ['identity', `callers say who asks; X-User-Id, X-User-Groups and X-Region, which go before that, count ${describeTrust(trust)} (--trust)`],
    ['evaluation', open ? 'open to whoever can reach it; FLAGS_EVALUATION_TOKENS=name=secret closes it' : `for the tokens of ${names(tokens.evaluation, tokens.browser)}`],
    ['admin', isEmpty(tokens.admin) && isEmpty(tokens.read) ? 'off; FLAGS_ADMIN_TOKENS=name=secret opens it (or --dev, to try it)' : `${url}/admin, for the tokens of ${names(tokens.admin, tokens.read)}`],
    ...warnings.map((warning) => ['warning', warning])
  ]
  const key = keys[0] ?? 'my-flag'
  const secret = dev ? tokens.admin.dev?.[0] : undefined
  const told = [`fastify-flags ${version()} listens on ${url}`, ...lines.map(([name, what]) => `  ${name!.padEnd(12)} ${what}`)]
  if (open) told.push(`Ask:     curl '${url}/flags/${key}/evaluate?user=alice'`)
  if (secret !== undefined) {
    const change = keys.length > 0 ? `POST ${url}/admin/flags/${key}/disable` : `PUT ${url}/admin/flags/${key} -H 'Content-Type: application/json' -d '{"enabled":true}'`
    told.push(`Change:  curl -X ${change} -H 'Authorization: Bearer ${secret}'`)
  }
  return told.join('\n')
}

function names (...tokens: EvaluationTokens[]): string {
  return [...new Set(tokens.flatMap((one) => Object.entries(one).flatMap(([name, secrets]) =>
    secrets.map((secret) => typeof secret === 'string' ? name : `${name} (${secret.environment} only)`))))].join(', ')
}

/** A Redis as it may be shown. */
export function withoutPassword (text: string): string {
  const understood = readRedisText(text)
  return 'fault' in understood ? 'a Redis' : understood.shown
}
