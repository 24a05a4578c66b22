import { createHmac, hash, timingSafeEqual } from 'node:crypto'
import { errors } from '../errors.js'
import { isKey } from '../model/key.js'

/** Whose secret is whose, by actor: the name that stands in the history. A list lets a secret be rotated. */
export type Tokens = Readonly<Record<string, string | readonly string[]>>

/** A secret, or one that counts in a single environment: `{ secret, environment: 'staging' }`. */
export type EvaluationSecret = string | { readonly secret: string, readonly environment?: string }

/** As `Tokens`, for those who ask for flags. */
export type EvaluationTokens = Readonly<Record<string, EvaluationSecret | readonly EvaluationSecret[]>>

/** Who holds a token, in which of the lists it stands, and the one environment it is for, if it is limited to one. */
export interface Bearer<Grant extends string> { actor: string, grant: Grant, environment?: string }

/** Finds whose token an Authorization header carries: the same object each time. It takes as long for any header, whatever it shares with a secret. */
export interface FindBearer<Grant extends string> {
  (authorization: string | undefined): Bearer<Grant> | undefined
  /** One for each secret. */
  readonly bearers: ReadonlyArray<Bearer<Grant>>
}

const digests = new WeakMap<Bearer<string>, Buffer>()

/** A key that can be made of a bearer's secret alone, the same in every process that knows it. `purpose` keeps keys apart. */
export function keyOf (bearer: Bearer<string>, purpose: string): Buffer {
  return createHmac('sha256', digests.get(bearer)!).update(purpose).digest()
}

/** How long a secret must at least be, in characters. */
const shortestSecret = 16

/**
 * `readTokens({ write: tokens, read: readTokens }, { write: 'admin.tokens', read: 'admin.readTokens' })`: the second names
 * the options, for errors; `limitable` lists may hold secrets for one environment. Only digests are kept. Throws
 * INVALID_OPTION for a secret that is too short, cannot stand in a header, or is given twice.
 */
export function readTokens<Grant extends string> (lists: Record<Grant, EvaluationTokens | undefined>, options: Record<Grant, string>, limitable: ReadonlyArray<NoInfer<Grant>> = []): FindBearer<Grant> {
  const known: Array<{ bearer: Bearer<Grant>, digest: Buffer }> = []
  for (const grant of Object.keys(lists) as Grant[]) {
    for (const [actor, given] of Object.entries(lists[grant] ?? {})) {
      const option = `${options[grant]}[${JSON.stringify(actor)}]`
      if (actor.length === 0 || actor.length > 200) throw new errors.INVALID_OPTION(`${options[grant]} must name its actors: { alice: '<secret>' }, with names of 1 to 200 characters`)
      for (const one of isList(given) ? given : [given]) {
        const { secret, environment } = limitable.includes(grant) ? limitOf(one, option) : { secret: one }
        check(secret, option)
        const digest = digestOf(secret)
        const twin = known.find((other) => other.digest.equals(digest))
        if (twin !== undefined) throw new errors.INVALID_OPTION(`${option} is the same secret as ${options[twin.bearer.grant]}[${JSON.stringify(twin.bearer.actor)}]; give each its own`)
        const bearer = { actor, grant, ...(environment !== undefined && { environment }) }
        digests.set(bearer, digest)
        known.push({ bearer, digest })
      }
    }
  }
  return Object.assign(find, { bearers: known.map(({ bearer }) => bearer) })

  function find (authorization: string | undefined): Bearer<Grant> | undefined {
    const digest = digestOf(/^bearer +([^ ]+) *$/i.exec(authorization ?? '')?.[1] ?? '')
    let found: Bearer<Grant> | undefined
    for (const one of known) if (timingSafeEqual(one.digest, digest)) found = one.bearer // no early end: the time must not tell
    return found
  }
}

function isList (given: EvaluationSecret | readonly EvaluationSecret[]): given is readonly EvaluationSecret[] {
  return Array.isArray(given)
}

function limitOf (one: unknown, option: string): { secret: unknown, environment?: string } {
  if (typeof one !== 'object' || one === null) return { secret: one }
  const { secret, environment, ...others } = one as Record<string, unknown>
  if (Object.keys(others).length > 0) throw new errors.INVALID_OPTION(`${option} holds ${Object.keys(others).join(', ')}; it can be a secret, or { secret, environment }`)
  if ('environment' in one && !isKey(environment)) throw new errors.INVALID_OPTION(`${option}.environment must be the name of an environment, such as "staging"; leave it out for a secret that counts in all`)
  return { secret, environment: environment as string | undefined }
}

function check (secret: unknown, option: string): asserts secret is string {
  if (typeof secret !== 'string' || secret.length < shortestSecret) throw new errors.INVALID_OPTION(`${option} must be a secret of at least ${shortestSecret} characters; make one with: openssl rand -hex 32`)
  if (!/^[\x21-\x7e]+$/.test(secret)) throw new errors.INVALID_OPTION(`${option} must hold visible ASCII characters only, without spaces: others do not survive an HTTP header`)
}

function digestOf (secret: string): Buffer {
  return hash('sha256', Buffer.from(secret, 'latin1'), 'buffer')
}
