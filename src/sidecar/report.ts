import { version } from './help.js'
import { isEmpty, type Settings } from './settings.js'

/** What a person should know once it listens: where, from what, for whom, what is closed and how to open it. */
export function report ({ store, environment, trust, tokens, open, warnings }: Settings, url: string, flags: string[]): string {
  const lines = [
    ['store', store.kind === 'redis' ? withoutPassword(store.url) : store.kind === 'file' ? store.path : 'memory; what is changed is gone at the end'],
    ['environment', environment],
    ['flags', flags.length === 0 ? 'none yet' : String(flags.length)],
    ['headers', `X-User-Id, X-User-Groups and X-User-Region count ${trust === 'local' ? 'from this machine only' : trust === 'all' ? 'from everybody' : trust === false ? 'from nobody' : `from ${trust.join(', ')}`} (--trust)`],
    ['evaluation', open ? 'open to all who can reach it; FLAGS_EVALUATION_TOKENS=name=secret closes it' : `for ${names(tokens.evaluation, tokens.browser)}`],
    ['admin', isEmpty(tokens.admin) ? 'off; FLAGS_ADMIN_TOKENS=name=secret opens it, or --dev to try it' : `under /admin, for ${names(tokens.admin)}`],
    ...warnings.map((warning) => ['warning', warning])
  ]
  const question = `${url}/flags/${flags[0] ?? 'my-flag'}/evaluate?user=alice`
  return [
    `fastify-flags ${version()} listens on ${url}`,
    ...lines.map(([name, what]) => `  ${name!.padEnd(12)} ${what}`),
    `Ask: curl '${question}'`
  ].join('\n')
}

function names (...tokens: Array<Record<string, string[]>>): string {
  return tokens.flatMap((one) => Object.keys(one)).join(', ')
}

/** A Redis URL as it may be shown. */
export function withoutPassword (text: string): string {
  const url = new URL(text)
  if (url.password !== '') url.password = '***'
  return url.href
}
