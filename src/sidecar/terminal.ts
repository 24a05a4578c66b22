import { stripVTControlCharacters } from 'node:util'
import type { Env } from './options.js'

/** Where a command reads and writes: a terminal, or what stands in for one. */
export interface Terminal {
  readonly env: Env
  /** What was asked for. Resolves when more may be written. */
  out (text: string): Promise<void> | void
  /** What a person should know besides. */
  err (text: string): void
  /** Whether a person watches `out`, and wants colours. */
  readonly colours: boolean
  /** Whether a person watches `err`, and a line may be written over. */
  readonly live: boolean
  readonly input: AsyncIterable<Uint8Array | string>
}

const styles = { bold: [1, 22], dim: [2, 22], green: [32, 39], yellow: [33, 39] } as const // util.styleText asks the stream of its own process

/** The text in a style, on a terminal that shows any. */
export function styled ({ colours }: Pick<Terminal, 'colours'>, style: keyof typeof styles, text: string): string {
  const [begin, end] = styles[style]
  return colours ? `\x1b[${begin}m${text}\x1b[${end}m` : text
}

/** Rows as aligned columns, below their headings if there are any. Columns without any content are left out. */
export function columns (headings: readonly string[] | undefined, rows: ReadonlyArray<readonly string[]>): string {
  const all = headings === undefined ? rows : [headings, ...rows]
  const shown = all[0]!.map((_, column) => column).filter((column) => rows.some((row) => row[column] !== ''))
  const widthOf = (text: string) => [...stripVTControlCharacters(text)].length
  const widths = shown.map((column) => all.reduce((width, row) => Math.max(width, widthOf(row[column] ?? '')), 0))
  return all.map((row) => shown.map((column, index) => {
    const text = row[column] ?? ''
    return index === shown.length - 1 ? text : text + ' '.repeat(widths[index]! - widthOf(text))
  }).join('  ').trimEnd() + '\n').join('')
}

/** How long ago, as people say it. */
export function ago (time: string, now = Date.now()): string {
  const seconds = Math.max(0, now - Date.parse(time)) / 1000
  for (const [unit, length, until] of [['minute', 60, 3600], ['hour', 3600, 86_400], ['day', 86_400, 60 * 86_400]] as const) {
    if (seconds < length) return unit === 'minute' ? 'just now' : `1 ${unit} ago`
    const count = Math.floor(seconds / length)
    if (seconds < until) return `${count} ${unit}${count === 1 ? '' : 's'} ago`
  }
  return time.slice(0, 10)
}
