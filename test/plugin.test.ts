import Fastify from 'fastify'
import t from 'tap'
import flags, { Memory, MemoryStore } from '../src/index.js'

t.test('a change made in one process is what the other answers next', async (t) => {
  const memory = new Memory()
  const apps = [Fastify(), Fastify()]
  for (const app of apps) {
    t.teardown(() => app.close())
    await app.register(flags, { store: new MemoryStore(memory) })
    app.get('/', async (req) => ({ on: req.flags.isEnabled('new-checkout') }))
  }
  const ask = async () => (await apps[1]!.inject('/')).json()
  t.same(await ask(), { on: false })
  await apps[0]!.flags.admin.put('new-checkout', { enabled: true }, { by: 'alice' })
  t.same(await ask(), { on: true })
})
