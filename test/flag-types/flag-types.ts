import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Flags } from '../../src/index.js'
import { typeIs, type Takes } from '../helpers/type-is.js'

// Compiled apart from all other tests: merging FlagTypes changes the types of a whole program.
declare module '../../src/index.js' {
  interface FlagTypes {
    'new-checkout': boolean
    'page-size': number
    layout: { columns: number }
    theme: 'light' | 'dark'
  }
}

/** Never called: what it says is said to the compiler. */
export function typesOfKnownFlags ({ flags }: FastifyRequest, app: FastifyInstance, key: Parameters<Flags['isEnabled']>[0]): void {
  typeIs<'new-checkout' | 'page-size' | 'layout' | 'theme'>()(key)
  typeIs<number>()(flags.getValue('page-size', 10))
  typeIs<{ columns: number }>()(flags.getValue('layout', { columns: 1 }))
  typeIs<'light' | 'dark'>()(app.flags.for('u1').getValue('theme', 'light'))
  typeIs<'light' | 'dark' | undefined>()(flags.getValue('theme', undefined))
  typeIs<boolean>()(flags.getDetails('new-checkout', false).value)
  typeIs<{ 'new-checkout'?: boolean, 'page-size'?: number, layout?: { columns: number }, theme?: 'light' | 'dark' }>()(flags.getAll())
}

type GetPageSize = typeof Flags.prototype.getValue<'page-size', number>

/** Never called: so is this. */
export function whatIsRefused (
  refused: [Takes<Flags['isEnabled'], ['nope']>, Takes<Flags['getVariant'], ['nope']>, Takes<GetPageSize, ['page-size', 'ten']>],
  taken: [Takes<Flags['isEnabled'], ['theme']>, Takes<Flags['getVariant'], ['theme']>, Takes<GetPageSize, ['page-size', 10]>]
): void {
  typeIs<[false, false, false]>()(refused)
  typeIs<[true, true, true]>()(taken)
}
