import type { FastifyRequest } from 'fastify'
import { errors } from '../errors.js'
import { didYouMean } from '../model/nearest.js'

/** The query as it was sent, whatever query parser the host has. */
export function queryOf (request: FastifyRequest): URLSearchParams {
  const { url } = request.raw
  const start = url?.indexOf('?') ?? -1
  return new URLSearchParams(url === undefined || start === -1 ? '' : url.slice(start + 1))
}

/** The named parameters, each at most once and nothing else; INVALID_REQUEST says what is known. */
export function readQuery<Name extends string> (request: FastifyRequest, names: readonly Name[]): Partial<Record<Name, string>> {
  const values: Partial<Record<Name, string>> = {}
  for (const [name, value] of queryOf(request)) {
    const known = names.find((one) => one === name)
    if (known === undefined) throw new errors.INVALID_REQUEST(`There is no query parameter ${JSON.stringify(name)} here${didYouMean(name, names) || (names.length === 0 ? '; there are none' : `; there are ${names.join(', ')}`)}`)
    if (Object.hasOwn(values, known)) throw new errors.INVALID_REQUEST(`The query parameter ${known} stands twice; send it once`)
    values[known] = value
  }
  return values
}

/** A whole number within bounds. */
export function readInteger (name: string, text: string, { minimum, maximum }: { minimum: number, maximum: number }): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN
  if (!(value >= minimum && value <= maximum)) throw new errors.INVALID_REQUEST(`${name} must be a whole number from ${minimum} to ${maximum}`)
  return value
}

const units: Record<string, number> = { h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** A duration such as `30d`, `12h` or `2w`, in milliseconds. */
export function readDuration (name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const [, count, unit] = /^(\d{1,5})([hdw])$/.exec(text) ?? []
  if (count === undefined || unit === undefined) throw new errors.INVALID_REQUEST(`${name} must be a number of hours, days or weeks, such as 12h, 30d or 2w`)
  return Number(count) * units[unit]!
}

/** `true` or `false`; an empty value, as in `?dryRun`, is true. */
export function readBoolean (name: string, text: string | undefined): boolean {
  if (text === undefined || text === 'false') return false
  if (text === 'true' || text === '') return true
  throw new errors.INVALID_REQUEST(`${name} must be true or false`)
}
