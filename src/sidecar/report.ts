import { resolve } from 'node:path'
import { doubtOfEnvironment } from '../evaluation/environments.js'
import type { FastifyFlags } from '../facade.js'
import { describeTrust } from '../plugin/trust.js'
import { readRedisText } from '../store/redis-text.js'
import { version } from './help.js'
import type { Settings } from './settings.js'
import { isEmpty, type EvaluationTokens } from './token-settings.js'

/** What a person should know once it listens: where, from what, for whom, what is closed and how to open it. */
export function report (settings: Settings, url: string, flags: FastifyFlags): string {
  const { store, environment, snapshotFile, trust, tokens, open, cors, publicUrl = url, logLevel, dev, warnings } = settings
  const { snapshot } = flags.for()
  const keys = [...snapshot.flags()].map(({ key }) => key).sort()
  const doubt = doubtOfEnvironment(snapshot, environment)
  const askers = names(tokens.evaluation, tokens.browser)
  const isChangeable = !isEmpty(tokens.admin) || !isEmpty(tokens.read)
  const lines = [
    ['store', store.kind === 'redis' ? withoutPassword(store.url) : store.kind === 'file' ? resolve(store.path) : 'memory: what is changed is gone at the end'],
    ['environment', environment],
    ['flags', flags.status === 'NOT_READY' ? `none yet, and it keeps trying: ${flags.problem?.message ?? 'the store has not answered'}` : `${keys.length}${flags.status === 'STALE' ? ', as they were last known' : ''}`],
    ['snapshot', snapshotFile === undefined ? '' : `${resolve(snapshotFile)}, to start from when the store does not answer`],
    ['identity', `callers say who asks; X-User-Id, X-User-Groups and X-Region, which go before that, count ${describeTrust(trust)} (--trust)`],
    ['evaluation', open ? 'open to whoever can reach it; FLAGS_EVALUATION_TOKENS=name=secret closes it' : `for the tokens of ${askers}`],
    ['OFREP', `${publicUrl}, for OpenFeature's providers`],
    ['pages', cors === undefined ? 'those of other sites may not ask; --cors https://shop.example opens it to them' : `those of ${cors === true ? 'all sites' : cors.join(', ')} may ask (--cors)`],
    ['admin', isChangeable ? `${url}/admin, for the tokens of ${names(tokens.admin, tokens.read)}` : 'off; FLAGS_ADMIN_TOKENS=name=secret opens it (or --dev, to try it)'],
    ['operations', `${url}/docs, /readyz and /metrics${open ? '' : ', the last for tokens too'}`],
    ['logs', logLevel === 'silent' ? 'none (--log-level)' : `JSON lines on stdout, ${logLevel} and above (--log-level)`],
    ...[...doubt === undefined ? [] : [doubt], ...warnings].map((warning) => ['warning', warning])
  ].filter(([, what]) => what !== '')
  const key = keys[0] ?? 'my-flag'
  const secret = dev ? tokens.admin.dev?.[0] : undefined
  const told = [`fastify-flags ${version()} listens on ${url}`, ...lines.map(([name, what]) => `  ${name!.padEnd(12)} ${what}`)]
  told.push(`Ask:     curl '${url}/flags/${key}/evaluate?user=alice'${open ? '' : ' -H "Authorization: Bearer $TOKEN"'}`)
  if (secret !== undefined) {
    const change = keys.length > 0 ? `POST ${url}/admin/flags/${key}/disable` : `PUT ${url}/admin/flags/${key} -H 'Content-Type: application/json' -d '{"enabled":true}'`
    told.push(`Change:  curl -X ${change} -H 'Authorization: Bearer ${secret}'`)
  }
  if (isChangeable) told.push(`Or:      FLAGS_TOKEN=${secret ?? '…'} fastify-flags list --url ${url}`)
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
