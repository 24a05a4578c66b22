import { isIP } from 'node:net'
import { RE2JS } from 're2js'
import semver, { type SemVer } from 'semver'
import { IsDate, IsTime } from 'typebox/format'

/**
 * How conditions read a value, be it the flag's or the context's. The checks refuse a condition whose value cannot be read
 * as its operator needs; an attribute that cannot be read never matches. Each function gives undefined for "cannot be read".
 */

// Attributes come from callers, and V8's patterns backtrack: a text must be matched in one way only, and none is long.
const longest = 1000

/** A number, or a text of at most 1,000 characters that writes one (`"2.0"`, `" 1e3 "`). */
export function readNumber (value: unknown): number | undefined {
  if (typeof value !== 'number' && !(typeof value === 'string' && value.length <= longest && /^\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?\s*$/i.test(value))) return undefined
  const number = Number(value)
  return Number.isFinite(number) ? number : undefined
}

/**
 * A moment as epoch milliseconds: such a number, a Date, an ISO date (its midnight in UTC) or an ISO date and time.
 * Without a zone it is UTC, whatever the zone of the machine, so that every process answers the same.
 */
export function readMoment (value: unknown): number | undefined {
  const moment = value instanceof Date ? value.getTime() : typeof value === 'number' ? value : typeof value === 'string' && value.length <= longest ? parseMoment(value.trim()) : NaN
  return Number.isFinite(moment) ? moment : undefined
}

function parseMoment (text: string): number {
  const [date = '', time = '00:00Z', ...rest] = text.toUpperCase().split(/[T ]/)
  if (rest.length > 0 || !IsDate(date)) return NaN // Date.parse would read 30 February as 2 March
  const [, clock = '', seconds = ':00', fraction = '', zone = 'Z'] = /^(\d{2}:\d{2})(:\d{2})?(\.\d+)?(Z|[+-]\d{2}:\d{2})?$/.exec(time) ?? []
  const whole = `${clock}${seconds}${fraction}${zone}`
  return IsTime(whole) ? Date.parse(`${date}T${whole}`) : NaN
}

/** A semantic version, `v` before it or not, `2` and `2.4` being `2.0.0` and `2.4.0`. A number is none, nor are four parts. */
export function readVersion (value: unknown): SemVer | undefined {
  if (typeof value !== 'string' || value.length > longest) return undefined
  const parts = /^v?(\d+)(\.\d+)?(\.\d+)?([-+].*)?$/i.exec(value.trim())
  if (parts === null) return undefined
  const [, major, minor = '.0', patch = '.0', rest = ''] = parts
  return semver.parse(`${major}${minor}${patch}${rest}`) ?? undefined
}

export interface AddressRange { address: string, prefix: number, family: 'ipv4' | 'ipv6' }

/** A range of addresses as CIDR writes it (`10.0.0.0/8`, `2001:db8::/32`); an address alone is a range of one. */
export function readRange (value: unknown): AddressRange | undefined {
  if (typeof value !== 'string') return undefined
  const [address = '', prefix, ...rest] = value.trim().split('/')
  const version = isIP(address)
  if (version === 0 || rest.length > 0 || address.includes('%')) return undefined
  const bits = version === 4 ? 32 : 128
  if (prefix !== undefined && !(/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits)) return undefined
  return { address, prefix: prefix === undefined ? bits : Number(prefix), family: version === 4 ? 'ipv4' : 'ipv6' }
}

/** Compiles a pattern in RE2 syntax: matching takes time linear in the text. Throws an error that says what the syntax lacks. */
export function compilePattern (pattern: string, ignoreCase = false): RE2JS {
  return RE2JS.compile(pattern, ignoreCase ? RE2JS.CASE_INSENSITIVE : 0)
}
