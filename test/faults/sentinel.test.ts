import t from 'tap'
import { storeContract } from '../../src/store/contract.js'
import { RedisStore } from '../../src/store/redis.js'
import { runCli, startCli } from '../helpers/cli.js'
import { startLoad } from '../helpers/load.js'
import { within } from '../helpers/promised.js'
import { refusal, until } from '../helpers/until.js'
import { binaries, startSentinels, synced, type Node, type Sentinels } from '../helpers/redis-nodes.js'
import { emptyNamespace } from '../helpers/redis.js'
import { requireOrSkip } from '../helpers/require.js'

const installed = requireOrSkip(t, binaries.server && binaries.sentinel, 'redis-server with redis-sentinel', 'apt-get install redis-server redis-sentinel')

const optionsOf = ({ sentinels, name }: Sentinels) => ({ sentinels: sentinels.map(({ port }) => ({ host: '127.0.0.1', port })), name })

t.test('row 9: behind Sentinels reads never stop and writes are back within 8 s, whatever becomes of the primary', { skip: !installed }, async (t) => {
  const group = await startSentinels(t)
  const { sentinels, servers, primary } = group

  await t.test('everything that was opened is closed', async (t) => {
    const nodes = [...sentinels, ...servers]
    const connections = async () => (await Promise.all(nodes.map(({ client }) => client.client('LIST') as Promise<string>))).join('').split('\n').filter((line) => /addr=.*cmd=(?!replconf|psync)/.test(line) && !/name=sentinel-/.test(line)).length
    const before = await connections()
    const store = new RedisStore({ redis: optionsOf(group) })
    await store.read()
    t.ok(await connections() > before)
    await store.close()
    await until(async () => await connections() <= before)
  })

  await t.test('the sidecar and its commands are told of them in one text', async (t) => {
    const text = `sentinel://default:hunter2@${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${group.name}`
    await (await primary()).client.call('ACL', 'SETUSER', 'default', '>hunter2')
    t.teardown(async () => await (await primary()).client.call('ACL', 'SETUSER', 'default', 'nopass'))
    const cli = startCli(t, ['serve', '--port', '0', '--namespace', 'told'], { env: { FLAGS_REDIS: text } })
    const store = new RedisStore({ redis: text, namespace: 'told' })
    t.teardown(() => store.close())
    await store.write({ kind: 'flag', key: 'told', document: '{"enabled":true}', expected: 0, epoch: null, by: null, id: 'told' })
    await until(async () => (await fetch(`${await cli.url}/flags/told/evaluate`)).status === 200)
    const { code, stdout } = await runCli(t, ['reset', '--namespace', 'told', '--yes'], { env: { FLAGS_REDIS: text } })
    t.strictSame({ code, stdout }, { code: 0, stdout: `1 flags and segments were removed from namespace told at ${text.replace('hunter2', '***')}; versions go on where they stood\n` })
    await until(async () => (await fetch(`${await cli.url}/flags/told/evaluate`)).status === 404)
    t.match(cli.out.stderr, text.replace('hunter2', '***'))
    t.notMatch(cli.out.stderr + cli.out.stdout, 'hunter2')
    t.equal(await cli.end(), 0)
  })

  await t.test('the contract of all stores', async (t) => {
    let places = 0
    const { client } = await primary()
    for (const { name, run } of storeContract(() => {
      const namespace = `place-${places++}`
      return {
        open: ({ history }) => new RedisStore({ redis: optionsOf(group), namespace, history }),
        empty: () => emptyNamespace(client, namespace)
      }
    })) await t.test(name, run)
  })

  await t.test('the primary is replaced on purpose, killed and frozen, and Sentinels are lost', async (t) => {
    const { during, end } = await startLoad(t, optionsOf(group))
    /** What becomes of writes without a primary; where that is measured once more, the one before is `back` first. */
    const hold = async (what: string, without: (node: Node) => unknown, back: (node: Node) => unknown = () => {}) => {
      let before: Node | undefined
      await within(t, { [`${what}: no write`]: 8000 }, async () => {
        if (before !== undefined) {
          await back(before)
          await synced(await primary(), 1)
        }
        const node = before = await primary()
        const { unwritable, visible, silent, heard } = await during(() => without(node), async () => await primary() !== node)
        t.comment(`${what}: a change visible after ${visible} ms at most; silent for ${silent} ms, of which ${heard} ms after the Sentinels knew the next primary`)
        return { [`${what}: no write`]: unwritable }
      })
    }
    await hold('a failover was asked for', () => until(() => sentinels[1]!.client.call('SENTINEL', 'FAILOVER', group.name).then(() => true, () => false)))
    await synced(await primary(), 2)
    await hold('the primary was killed', (node) => node.signal('SIGKILL'), (node) => node.restart())
    await synced(await primary(), 1)
    await hold('the primary was frozen', (node) => node.signal('SIGSTOP'), (node) => node.signal('SIGCONT'))

    const { unwritable } = await during(() => { sentinels[1]!.signal('SIGKILL'); sentinels[2]!.signal('SIGSTOP') })
    t.ok(unwritable <= 8000, `a Sentinel was killed and one frozen: no write for ${unwritable} ms`)
    await end()
  })

  await t.test('without a word from any Sentinel a call is refused, closing takes no time, and it comes up with the first of them', async (t) => {
    sentinels[0]!.signal('SIGSTOP')
    const store = new RedisStore({ redis: optionsOf(group) })
    t.teardown(() => store.close())
    t.ok(await refusal(store, /the Sentinels of flags-primary/))
    await within(t, { closing: 1000 }, async () => {
      const other = new RedisStore({ redis: optionsOf(group) })
      const refused = other.read().catch(() => {})
      const begun = performance.now()
      await other.close()
      await refused
      return { closing: performance.now() - begun }
    })
    sentinels[0]!.signal('SIGCONT')
    await until(() => store.read().then(() => true, () => false))
  })
})
