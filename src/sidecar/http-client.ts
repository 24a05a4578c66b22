import type { DocumentSet, FlagPatch, HistoryRange, ChangesQuery } from '../admin.js'
import type { Move, RolloutPlace } from '../admin/rollouts.js'
import { textOf, type FlagsError } from '../errors.js'
import type { EvaluationContext } from '../model/context.js'
import type { Client, ListFilter } from './client.js'
import { FailedError, UnreachableError } from './failures.js'

/** Milliseconds for an answer; an import of all flags of a store may take its time. */
const patience = 30_000
const importPatience = 600_000

interface Asking { query?: object, body?: unknown, headers?: Record<string, string>, patience?: number }

/** A client over the admin routes of a sidecar or an app. */
export class HttpClient implements Client {
  readonly #url: string
  readonly #token: string | undefined

  constructor ({ url, token }: { url: string, token?: string }) {
    this.#url = url
    this.#token = token
  }

  async list (filter: ListFilter) {
    return await this.#ask('GET', '/flags', { query: { ...filter, limit: 1000 } })
  }

  async get (key: string) {
    return await this.#ask('GET', `/flags/${encodeURIComponent(key)}`)
  }

  async patch (key: string, patch: FlagPatch) {
    return await this.#ask('PATCH', `/flags/${encodeURIComponent(key)}`, { body: patch })
  }

  async switch (key: string, action: 'enable' | 'disable', environment: string | undefined) {
    return await this.#ask('POST', `${place(key, environment)}/${action}`)
  }

  async rollout (key: string, { environment, rule }: RolloutPlace) {
    return await this.#ask('GET', `${place(key, environment)}/rollout`, { query: { rule } })
  }

  async move (key: string, move: Move, { environment, rule }: RolloutPlace) {
    return await this.#ask('POST', `${place(key, environment)}/rollout/${move}`, { body: { rule } })
  }

  async explain (key: string, context: EvaluationContext, environment: string | undefined) {
    return await this.#ask('POST', `/flags/${encodeURIComponent(key)}/explain`, { body: { context, environment } })
  }

  async history (key: string, range: HistoryRange) {
    return await this.#ask('GET', `/flags/${encodeURIComponent(key)}/history`, { query: range })
  }

  async changes (query: ChangesQuery) {
    return await this.#ask('GET', '/changes', { query })
  }

  async delete (kind: 'flag' | 'segment', key: string) {
    await this.#ask('DELETE', `/${kind}s/${encodeURIComponent(key)}`, { headers: { 'if-match': '*' } })
  }

  async listSegments ({ after }: { after?: string }) {
    return await this.#ask('GET', '/segments', { query: { after, limit: 1000 } })
  }

  async * export (): AsyncGenerator<string> {
    const response = await this.#send('GET', '/export', { patience: importPatience })
    if (!response.ok) throw await this.#refusal(response)
    const decoder = new TextDecoder()
    try {
      for await (const part of response.body ?? []) yield decoder.decode(part as Uint8Array, { stream: true })
    } catch (error) {
      throw new UnreachableError(`${this.#url} broke off: ${textOf(error)}`)
    }
  }

  async import (documents: DocumentSet, dryRun: boolean) {
    return await this.#ask('POST', '/import', { query: { dryRun: dryRun || undefined }, body: documents, patience: importPatience })
  }

  async close () {}

  /** The answer's body, which is what its route says. */
  async #ask (method: string, path: string, asking: Asking = {}): Promise<any> {
    const response = await this.#send(method, path, asking)
    if (!response.ok) throw await this.#refusal(response)
    if (response.status === 204) return undefined
    try {
      return await response.json()
    } catch {
      throw new FailedError(`${this.#url}${path} did not answer with JSON; is it the address of fastify-flags?`)
    }
  }

  async #send (method: string, path: string, { query = {}, body, headers, patience: within = patience }: Asking): Promise<Response> {
    const asked = new URLSearchParams()
    for (const [name, value] of Object.entries(query)) if (value !== undefined) asked.set(name, String(value))
    try {
      return await fetch(`${this.#url}${path}${asked.size === 0 ? '' : `?${asked.toString()}`}`, {
        method,
        headers: {
          ...this.#token !== undefined && { authorization: `Bearer ${this.#token}` },
          ...body !== undefined && { 'content-type': 'application/json' },
          ...headers
        },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(within)
      })
    } catch (error) {
      const { cause } = error as Error
      const why = (error as Error).name === 'TimeoutError' ? `it did not answer within ${within / 1000} seconds` : textOf(cause ?? error) || (cause as NodeJS.ErrnoException).code
      throw new UnreachableError(`${this.#url} cannot be reached: ${why}`)
    }
  }

  /** The server's own error, with what to do about it here. */
  async #refusal (response: Response): Promise<Error> {
    const answer = await response.json().catch(() => undefined) as Partial<FlagsError> | undefined
    const { code, message, statusCode, details } = answer ?? {}
    if (typeof code !== 'string' || !code.startsWith('FST_FLAGS_') || typeof message !== 'string') return this.#foreign(response.status)
    const hint = response.status === 401
      ? this.#token === undefined ? '. Set FLAGS_TOKEN to one of its admin tokens' : '. The token in FLAGS_TOKEN is none of its admin tokens'
      : response.status === 403 ? '. The token in FLAGS_TOKEN may only read' : ''
    return Object.assign(new Error(message + hint), { code, statusCode: statusCode ?? response.status, details })
  }

  #foreign (status: number): Error {
    if (status >= 502) return new UnreachableError(`${this.#url} answered ${status}: what stands before it cannot reach it`)
    return new FailedError(`${this.#url} answered ${status}, and not as the admin routes of fastify-flags do; if they have a prefix, it belongs into the address: --url http://host/prefix`)
  }
}

/** A flag's own route, or that of its part for an environment. */
function place (key: string, environment: string | undefined): string {
  return `/flags/${encodeURIComponent(key)}${environment === undefined ? '' : `/environments/${encodeURIComponent(environment)}`}`
}
