import { isFlagsError } from '../errors.js'
import { isKey } from '../model/key.js'
import { readTokens } from '../routes/tokens.js'
import { UsageError } from './failures.js'
import type { Env } from './options.js'

/** Secrets by the name of who holds them; several, so that one can be replaced while both count. */
export type Tokens = Record<string, string[]>
/** Secrets that may each be limited to an environment. */
export type EvaluationTokens = Record<string, Array<string | { secret: string, environment: string }>>

export interface TokenSettings { admin: Tokens, read: Tokens, evaluation: EvaluationTokens, browser: EvaluationTokens }

/** Secrets stand in the environment only: every user of a machine can read its command lines. */
export const tokenVariables = {
  admin: { name: 'FLAGS_ADMIN_TOKENS', help: 'who may change flags (without it the admin routes are off)' },
  read: { name: 'FLAGS_READ_TOKENS', help: 'who may read the admin routes' },
  evaluation: { name: 'FLAGS_EVALUATION_TOKENS', help: 'which servers may ask (needed beyond this machine); qa@staging=secret counts in that environment alone' },
  browser: { name: 'FLAGS_BROWSER_TOKENS', help: 'which front ends may ask, for "public" flags only; likewise' }
} as const

/** Throws a UsageError that never says a secret. */
export function readTokenSettings (env: Env): TokenSettings {
  const { admin, read, evaluation, browser } = tokenVariables
  const tokens = { admin: splitTokens(admin.name, env), read: splitTokens(read.name, env), evaluation: splitLimited(evaluation.name, env), browser: splitLimited(browser.name, env) }
  try { // secrets are long enough for one, can stand in a header, and each opens one thing only
    readTokens(tokens, { admin: admin.name, read: read.name, evaluation: evaluation.name, browser: browser.name }, ['evaluation', 'browser'])
  } catch (error) {
    throw isFlagsError(error) ? new UsageError(error.message) : error
  }
  return tokens
}

/** The variable that is meant by whoever writes a token as an option. */
export function variableMeant (option: string): string {
  const grant = (['read', 'evaluation', 'browser'] as const).find((grant) => option.toLowerCase().includes(grant.slice(0, 4)))
  return tokenVariables[grant ?? 'admin'].name
}

export function isEmpty (tokens: EvaluationTokens): boolean {
  return Object.keys(tokens).length === 0
}

/** `alice=secret,ci=secret`, a name as often as it has secrets. Never says a secret. */
function splitTokens (variable: string, env: Env): Tokens {
  const tokens: Tokens = Object.create(null)
  for (const [index, entry] of (env[variable] ?? '').split(',').entries()) {
    if (entry.trim() === '') continue
    const [, name, secret] = /^\s*([^=\s]+)\s*=\s*(\S+)\s*$/.exec(entry) ?? []
    if (name === undefined || secret === undefined) throw new UsageError(`${variable} is wrong at entry ${index + 1}; write it as name=secret,name=secret, without spaces inside`)
    ;(tokens[name] ??= []).push(secret)
  }
  return tokens
}

/** `shop=secret,qa@staging=secret`: what follows the last @ of a name is the environment that its secret is limited to. */
function splitLimited (variable: string, env: Env): EvaluationTokens {
  const tokens: EvaluationTokens = Object.create(null)
  for (const [written, secrets] of Object.entries(splitTokens(variable, env))) {
    const at = written.lastIndexOf('@')
    const name = at === -1 ? written : written.slice(0, at)
    const environment = at === -1 ? undefined : written.slice(at + 1)
    if (name === '' || (environment !== undefined && !isKey(environment))) throw new UsageError(`${variable} has "${written}"; write name@environment=secret, or name=secret for all environments`)
    ;(tokens[name] ??= []).push(...secrets.map((secret) => environment === undefined ? secret : { secret, environment }))
  }
  return tokens
}
