import t from 'tap'
import { readTokens, type Tokens } from '../src/routes/tokens.js'

const read = (write?: Tokens, read?: Tokens) => readTokens({ write, read }, { write: 'admin.tokens', read: 'admin.readTokens' })
const secret = (name: string) => `${name}-0123456789abcdef`

t.test('a Bearer token tells its actor and what it grants, others nobody', async (t) => {
  const find = read({ alice: secret('alice'), bob: [secret('bob-old'), secret('bob-new')] }, { viewer: secret('viewer') })
  t.same(find(`Bearer ${secret('alice')}`), { actor: 'alice', grant: 'write' })
  t.same(find(`bearer   ${secret('bob-old')} `), { actor: 'bob', grant: 'write' }, 'the scheme knows no case')
  t.same(find(`Bearer ${secret('bob-new')}`), { actor: 'bob', grant: 'write' })
  t.same(find(`Bearer ${secret('viewer')}`), { actor: 'viewer', grant: 'read' })
  for (const header of [undefined, '', 'Bearer', 'Bearer ', secret('alice'), `Basic ${secret('alice')}`, `Bearer ${secret('alice')}x`, `Bearer ${secret('alice')} x`, `Bearer ${secret('alice')}, Bearer x`]) t.equal(find(header), undefined, String(header))
})

t.test('secrets that would not protect are refused at start, without being shown', async (t) => {
  const refused = (tokens: Tokens, message: RegExp) => t.throws(() => read(tokens), { code: 'FST_FLAGS_INVALID_OPTION', message })
  refused({ alice: '' }, /admin\.tokens\["alice"\] must be a secret of at least 16 characters/)
  refused({ alice: 'short' }, /^(?!.*short).*at least 16 characters/)
  refused({ alice: [secret('a'), 'short'] }, /at least 16/)
  refused({ alice: 'with space 0123456789' }, /visible ASCII/)
  refused({ alice: 'schlüssel-0123456789' }, /visible ASCII/)
  refused({ '': secret('a') }, /must name its actors/)
  refused({ alice: secret('a'), bob: secret('a') }, /admin\.tokens\["bob"\] is the same secret as admin\.tokens\["alice"\]/)
  refused({ alice: { secret: secret('a'), environment: 'staging' } } as unknown as Tokens, /must be a secret/)
  refused({ alice: 42 } as unknown as Tokens, /must be a secret/)
  t.throws(() => read({ alice: secret('a') }, { viewer: secret('a') }), /admin\.readTokens\["viewer"\] is the same secret as admin\.tokens\["alice"\]/)
})
