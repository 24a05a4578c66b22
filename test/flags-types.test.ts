import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import type { Flags } from '../src/index.js'
import type { JsonValue } from '../src/model/json.js'
import { typeIs } from './helpers/type-is.js'

interface Layout { columns: number, name?: string }

/** Never called: what it says is said to the compiler. */
export function typesOfUnknownFlags (flags: Flags, layout: Layout, perhaps: string | undefined): void {
  typeIs<number>()(flags.getValue('x', 10))
  typeIs<string>()(flags.getValue('x', 'a'))
  typeIs<boolean>()(flags.getValue('x', true))
  typeIs<Layout>()(flags.getValue('x', layout))
  typeIs<string[]>()(flags.getValue('x', ['a']))
  typeIs<string | undefined>()(flags.getValue('x', perhaps))
  typeIs<JsonValue | undefined>()(flags.getValue('x', undefined))
  typeIs<JsonValue>()(flags.getValue('x', null))
  typeIs<number>()(flags.getDetails('x', 10).value)
  typeIs<string | undefined>()(flags.getVariant('x'))
  typeIs<string>()(flags.getVariant('x', 'control'))
  typeIs<Record<string, JsonValue>>()(flags.getAll())
}

t.test('with FlagTypes merged, keys and values are checked (the program in test/flag-types compiles)', async (t) => {
  const tsc = fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url))
  const project = fileURLToPath(new URL('flag-types', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [tsc, '-p', project]).catch((error: { stdout: string }) => error)
  t.equal(stdout, '')
})
