/**
 * Who is in, decided by a hash: MurmurHash3 x86-32 (Austin Appleby, public domain; seed 0) over
 * `u32le(bytes of seed) seed u32le(bytes of purpose) purpose`, padded with zeros to whole words, then `u32le(bytes of value) value`,
 * texts as UTF-8 with lone surrogates as U+FFFD. A change of one bit moves users: golden vectors in the tests pin it.
 */

/** Taking part, the share and the slot in a layer are independent hashes. */
export type Purpose = 'rollout' | 'split' | 'layer'

// Held, not looked up on the text: once any class extends String, as one of ioredis does, V8 takes 250 ns instead of 45 to look for a
// method 36 times.
const { charCodeAt, codePointAt } = String.prototype

/** The part of a hash that is the same for everyone, folded when the flag is compiled. */
export interface Fold { readonly state: number, readonly length: number }

export function foldFor (seed: string, purpose: Purpose): Fold {
  const bytes: number[] = []
  for (const text of [seed, purpose]) {
    const utf8 = Buffer.from(text)
    const length = utf8.length
    bytes.push(length & 0xff, length >>> 8 & 0xff, length >>> 16 & 0xff, length >>> 24, ...utf8)
  }
  while (bytes.length % 4 !== 0) bytes.push(0)
  let state = 0
  for (let i = 0; i < bytes.length; i += 4) {
    state = mix(state, bytes[i]! | bytes[i + 1]! << 8 | bytes[i + 2]! << 16 | bytes[i + 3]! << 24)
  }
  return { state, length: bytes.length }
}

/**
 * The hash of a value after a fold (its state and length), as a signed 32-bit integer: an unsigned one would not fit V8's small
 * integers and be allocated.
 */
export function hash (state: number, folded: number, value: string): number {
  const length = value.length
  const words = length & ~3
  let h = mix(state, length)
  let i = 0
  for (; i < words; i += 4) {
    const a = charCodeAt.call(value, i)
    const b = charCodeAt.call(value, i + 1)
    const c = charCodeAt.call(value, i + 2)
    const d = charCodeAt.call(value, i + 3)
    if ((a | b | c | d) > 0x7f) return hashUtf8(state, folded, value)
    h = mix(h, a | b << 8 | c << 16 | d << 24)
  }
  let rest = 0
  for (let shift = 0; i < length; i++, shift += 8) {
    const code = charCodeAt.call(value, i)
    if (code > 0x7f) return hashUtf8(state, folded, value)
    rest |= code << shift
  }
  return finish(h ^ scramble(rest) ^ (folded + 4 + length))
}

/** The same for a value that is not ASCII, encoded as it is read. */
function hashUtf8 (state: number, folded: number, value: string): number {
  const length = Buffer.byteLength(value)
  let h = mix(state, length)
  let word = 0
  let shift = 0
  for (let i = 0; i < value.length; i++) {
    let code = codePointAt.call(value, i)!
    if (code > 0xffff) i++
    else if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd
    let count = 1
    let bytes = code // the first byte lowest
    if (code > 0xffff) {
      count = 4
      bytes = 0xf0 | code >>> 18 | (0x80 | code >>> 12 & 0x3f) << 8 | (0x80 | code >>> 6 & 0x3f) << 16 | (0x80 | code & 0x3f) << 24
    } else if (code > 0x7ff) {
      count = 3
      bytes = 0xe0 | code >>> 12 | (0x80 | code >>> 6 & 0x3f) << 8 | (0x80 | code & 0x3f) << 16
    } else if (code > 0x7f) {
      count = 2
      bytes = 0xc0 | code >>> 6 | (0x80 | code & 0x3f) << 8
    }
    for (; count > 0; count--, bytes >>>= 8) {
      word |= (bytes & 0xff) << shift
      shift += 8
      if (shift === 32) {
        h = mix(h, word)
        word = shift = 0
      }
    }
  }
  return finish(h ^ scramble(word) ^ (folded + 4 + length))
}

function mix (h: number, word: number): number {
  h ^= scramble(word)
  return Math.imul(h << 13 | h >>> 19, 5) + 0xe6546b64 | 0
}

function scramble (word: number): number {
  word = Math.imul(word, 0xcc9e2d51)
  return Math.imul(word << 15 | word >>> 17, 0x1b873593)
}

function finish (h: number): number {
  h = Math.imul(h ^ h >>> 16, 0x85ebca6b)
  h = Math.imul(h ^ h >>> 13, 0xc2b2ae35)
  return h ^ h >>> 16
}

/** How many hashes are in at a percentage, shifted to where signed hashes begin: for `isBelow`. 0 is nobody, 100 everyone. */
export function thresholdOf (percentage: number): number {
  const threshold = Math.ceil(percentage / 100 * 2 ** 32) - 2 ** 31
  return threshold < 2 ** 31 ? threshold | 0 : threshold // `| 0` has V8 keep a small integer
}

export function isBelow (threshold: number, hash: number): boolean {
  return (hash ^ 0x80000000) < threshold
}

/** A hash as a percentage: in when below the rollout's. */
export function percentageOf (hash: number): number {
  return (hash >>> 0) / 2 ** 32 * 100
}

const log2Bits = 26
// log2(1 + i / 2048) in fixed point: rounded, so that it does not depend on the platform's last digit.
const log2Table = Float64Array.from({ length: 2049 }, (_, i) => Math.round(Math.log2(1 + i / 2048) * 2 ** log2Bits))

/**
 * Weighted rendezvous: each variant draws `u` from the value's hash and its own name and scores `-log2(u) / weight`; the lowest wins
 * (Schindelhauer & Schomaker, "Weighted distributed hash tables", 2005). No state, no order: a change of weights moves exactly the share it must.
 */
export class Split<T> {
  readonly #outcomes: T[]
  readonly #salts: Int32Array
  readonly #costs: Float64Array

  /** Entries of name, weight and what to give; at least one weight is positive. */
  constructor (entries: Array<{ name: string, weight: number, outcome: T }>) {
    const heaviest = Math.max(...entries.map(({ weight }) => weight))
    const positive = entries.filter(({ weight }) => weight > 0).sort((a, b) => a.name < b.name ? -1 : 1)
    if (positive.length === 0) throw new Error('a split needs a positive weight')
    this.#outcomes = positive.map(({ outcome }) => outcome)
    this.#salts = Int32Array.from(positive, ({ name }) => hash(0, 0, name))
    this.#costs = Float64Array.from(positive, ({ weight }) => heaviest / weight)
  }

  /** The one outcome when there is no choice. */
  get only (): T | undefined {
    return this.#outcomes.length === 1 ? this.#outcomes[0] : undefined
  }

  pick (hash: number): T {
    const salts = this.#salts
    const costs = this.#costs
    let chosen = 0
    let lowest = Infinity
    for (let i = 0; i < salts.length; i++) {
      // -log2(u / 2^32) in fixed point; more than 32 for 0. Exact in doubles: 6 + 26 + 20 bits. No function of its own: where V8
      // does not inline one, it allocates the number that it gives.
      const u = finish(hash ^ salts[i]!)
      const zeros = Math.clz32(u)
      const mantissa = u << zeros
      const index = mantissa >>> 20 & 0x7ff
      const low = log2Table[index]!
      const log2 = low + (log2Table[index + 1]! - low) * (mantissa & 0xfffff) / 2 ** 20
      const score = ((zeros + 1) * 2 ** log2Bits - log2) * costs[i]!
      if (score < lowest) {
        lowest = score
        chosen = i
      }
    }
    return this.#outcomes[chosen]!
  }
}
