import type { Row } from './measure.js'

// Each gives its rows; name some on the command line to run only those. Each is imported when its turn comes: ioredis has a class that
// extends String, which makes V8 five times slower at finding a text's methods; ours does not look, but the closures by hand would pay.
const benches: Record<string, () => Promise<Row[]>> = {
  start: async () => (await import('./start.js')).start(),
  evaluation: async () => (await import('./evaluation.js')).evaluation(),
  plugin: async () => (await import('./plugin.js')).plugin(),
  http: async () => (await import('./http.js')).http(),
  ofrep: async () => (await import('./ofrep.js')).ofrep(),
  streams: async () => (await import('./streams.js')).streams(),
  store: async () => (await import('./store.js')).store(),
  experiments: async () => (await import('./experiments.js')).experiments(),
  replica: async () => (await import('./replica.js')).replica()
}

const asked = process.argv.slice(2)
const rows: Row[] = []
for (const [name, bench] of Object.entries(benches)) {
  if (asked.length === 0 || asked.includes(name)) rows.push(...await bench())
}

const figure = (value: number, unit = 'ns') => `${value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(1)} ${unit}`
const table = [
  ['', 'ours', 'limit', 'ratio', 'target', ''],
  ...rows.map(({ name, ours, limit, ratio, target, ok, unit }) => [name, figure(ours, unit), figure(limit, unit), ratio.toFixed(2), target.toFixed(2), ok ? 'ok' : 'MISSED'])
]
const widths = table[0]!.map((_, column) => Math.max(...table.map((cells) => cells[column]!.length)))
for (const cells of table) console.log(cells.map((cell, column) => column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)).join('  '))
process.exitCode = rows.every(({ ok }) => ok) ? 0 : 1
