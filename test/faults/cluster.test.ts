import { setTimeout as pause } from 'node:timers/promises'
import { Cluster } from 'ioredis'
import t, { type Test } from 'tap'
import { RedisLedger } from '../../src/experiments/redis.js'
import { storeContract } from '../../src/store/contract.js'
import { slotOf } from '../../src/store/redis-guides.js'
import { RedisStore } from '../../src/store/redis.js'
import { batchOf, exposed, ledgerContract, someExperiment } from '../helpers/ledger-contract.js'
import { startLoad, type Figures } from '../helpers/load.js'
import { until } from '../helpers/redis-node.js'
import { binaries, startCluster, type Node, type RedisCluster } from '../helpers/redis-nodes.js'
import { emptyNamespace } from '../helpers/redis.js'
import { requireOrSkip } from '../helpers/require.js'

const installed = requireOrSkip(t, binaries.server, 'redis-server', 'apt-get install redis-server')

const urlsOf = ({ nodes }: RedisCluster) => nodes.map(({ port }) => `redis://127.0.0.1:${port}`)
const key = '{flags}:documents'

function told (t: Test, what: string, { unwritable, visible, silent, heard }: Figures): void {
  t.comment(`${what}: no write for ${unwritable} ms; a change visible after ${visible} ms at most; silent for ${silent} ms, of which ${heard} ms after the Cluster could answer`)
  t.ok(unwritable <= 8000, `${what}: writes are back within 8 s (${unwritable} ms)`)
  t.ok(visible <= 3000, `${what}: what is written is served everywhere within 3 s (${visible} ms)`)
  t.ok(heard <= 3000, `${what}: polls are back within 3 s of the Cluster (${heard} ms)`)
}

t.test('row 10: on a Cluster reads never stop, writes are back within 8 s and changes seen within 3 s, whatever becomes of its nodes', { skip: !installed }, async (t) => {
  const cluster = await startCluster(t)
  const { nodes } = cluster
  const healthy = () => until(async () => {
    const states = await Promise.all(nodes.map(async ({ client }) => /cluster_state:ok[^]*cluster_slots_ok:16384/.test(await client.cluster('INFO').catch(() => '') as string) && !/fail|handshake/.test(await client.cluster('NODES') as string)))
    const { client } = await cluster.ownerOf(key)
    return states.every(Boolean) && /^slave\d.*state=online/m.test(await client.info('replication'))
  })

  const replaced = (node: Node) => async () => await cluster.ownerOf(key, node) !== node

  await t.test('the slot of a key is the one that Redis has for it', async (t) => {
    for (const key of ['{flags}:documents', 'a', '', 'tenant:{flags}:log', '{a}{b}', '{}x', 'ü{ö}', '{a', 'a}b{c}']) t.equal(slotOf(key), await cluster.slotOf(key), key)
  })

  await t.test('everything that was opened is closed', async (t) => {
    const connections = async () => (await Promise.all(nodes.map(({ client }) => client.client('LIST') as Promise<string>))).join('').split('\n').filter(Boolean).length
    const before = await connections()
    const store = new RedisStore({ redis: { nodes: urlsOf(cluster) } })
    await store.read()
    t.ok(await connections() > before)
    await store.close()
    await until(async () => await connections() === before)
  })

  await t.test('experiments lie on all of the nodes, and are counted as anywhere', async (t) => {
    const open = () => new RedisLedger({ redis: { nodes: urlsOf(cluster) } })
    await ledgerContract(t, () => ({ open, shared: true, keeps: true }))
    const ledger = open()
    t.teardown(() => ledger.close())
    const owners = new Set<Node>()
    while (owners.size < 3) {
      const experiment = someExperiment()
      await ledger.record(batchOf(experiment, { exposures: [exposed('u1', 'a')] }))
      const owner = await cluster.ownerOf(`{flags:x:${experiment.id}}`)
      t.ok((await owner.client.keys(`{flags:x:${experiment.id}}*`)).length >= 3)
      owners.add(owner)
    }
  })

  await t.test('the contract of all stores', async (t) => {
    let places = 0
    const app = new Cluster(nodes.map(({ port }) => ({ host: '127.0.0.1', port })))
    t.teardown(() => app.disconnect())
    for (const { name, run } of storeContract(() => {
      const namespace = `place-${places++}`
      return {
        open: ({ history }) => new RedisStore({ redis: app, namespace, history }),
        empty: async () => await emptyNamespace((await cluster.ownerOf(`{${namespace}}`)).client, namespace)
      }
    })) await t.test(name, run)
  })

  await t.test('a password may stand in the first URL of a list, in a node\'s URL, beside the nodes, or in the app\'s Cluster', async (t) => {
    const password = async (password: string) => { for (const { client } of nodes) await client.config('SET', 'masterauth', password, 'requirepass', password) }
    await password('s3cret')
    t.teardown(() => password(''))
    const [{ port }, ...others] = nodes as [Node, ...Node[]]
    const app = new Cluster([`redis://127.0.0.1:${port}`], { lazyConnect: true, redisOptions: { password: 's3cret' } })
    t.teardown(() => app.disconnect())
    const text = urlsOf(cluster).join(',').replace('//', '//:s3cret@')
    const ways = [text, { url: text }, { nodes: [`redis://:s3cret@127.0.0.1:${port}`] }, { nodes: others.map(({ port }) => ({ host: '127.0.0.1', port })), password: 's3cret' }, app]
    for (const redis of ways) {
      const store = new RedisStore({ redis, namespace: 'passwords' })
      t.equal((await store.read()).position.revision, 0)
      await store.close()
    }
    const stranger = new RedisStore({ redis: { nodes: [`redis://:wr0ng@127.0.0.1:${port}`] } })
    const error = await stranger.read().catch((error) => error)
    t.match(error, { code: 'FST_FLAGS_STORE_UNAVAILABLE', message: /WRONGPASS/ })
    t.notMatch(error.message, /wr0ng/)
    await stranger.close()
  })

  await t.test('one node given as if it were the only one is told how to give a Cluster', async (t) => {
    const owner = await cluster.ownerOf(key)
    const store = new RedisStore({ redis: `redis://127.0.0.1:${nodes.find((node) => node !== owner)!.port}` })
    t.teardown(() => store.close())
    await t.rejects(store.read(), { code: 'FST_FLAGS_STORE_UNAVAILABLE', message: /a Cluster is given as \{ nodes \}/ })
  })

  await t.test('the owner of the slot is killed and frozen, then others are, then the slot moves', async (t) => {
    const { during, end } = await startLoad(t, { nodes: urlsOf(cluster) })

    const killed = await cluster.ownerOf(key)
    told(t, 'the owner of the slot was killed', await during(() => killed.signal('SIGKILL'), replaced(killed)))
    await killed.restart()
    await healthy()

    const frozen = await cluster.ownerOf(key)
    told(t, 'the owner of the slot was frozen', await during(() => frozen.signal('SIGSTOP'), replaced(frozen)))
    frozen.signal('SIGCONT')
    await healthy()

    const owner = await cluster.ownerOf(key)
    const others = nodes.filter((node) => node !== owner)
    told(t, 'another node was killed', await during(() => others[0]!.signal('SIGKILL')))
    told(t, 'one more was frozen', await during(() => others[1]!.signal('SIGSTOP')))
    others[1]!.signal('SIGCONT')
    await others[0]!.restart()
    await healthy()

    told(t, 'the slot was moved', await during(() => moveSlot(cluster)))
    told(t, 'the slot was moved, in a second', await during(() => moveSlot(cluster, 1000)))
    await end()
  })
})

/** As `redis-cli --cluster reshard` does it, to another owner; `slowly` is how long other keys of the slot would take. */
async function moveSlot (cluster: RedisCluster, slowly = 0): Promise<void> {
  const { nodes } = cluster
  const slot = await cluster.slotOf(key)
  const from = await cluster.ownerOf(key)
  const roles = await Promise.all(nodes.map(async (node) => ({ node, role: (await node.client.role() as [string])[0] })))
  const to = roles.find(({ node, role }) => role === 'master' && node !== from)!.node
  const [fromId, toId] = await Promise.all([from, to].map(({ client }) => client.cluster('MYID') as Promise<string>))
  await to.client.cluster('SETSLOT', slot, 'IMPORTING', fromId!)
  await from.client.cluster('SETSLOT', slot, 'MIGRATING', toId!)
  await pause(slowly)
  for (;;) {
    const keys = await from.client.cluster('GETKEYSINSLOT', slot, 10) as string[]
    if (keys.length === 0) break
    await from.client.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5000, 'KEYS', ...keys)
  }
  await to.client.cluster('SETSLOT', slot, 'NODE', toId!)
  await from.client.cluster('SETSLOT', slot, 'NODE', toId!)
}
