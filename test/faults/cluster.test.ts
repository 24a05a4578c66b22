import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { Cluster } from 'ioredis'
import t, { type Test } from 'tap'
import { RedisLedger } from '../../src/experiments/redis.js'
import { storeContract } from '../../src/store/contract.js'
import { slotOf } from '../../src/store/redis-guides.js'
import { RedisStore } from '../../src/store/redis.js'
import { batchOf, exposed, ledgerContract, patient, someExperiment } from '../helpers/ledger-contract.js'
import { startLoad, type Figures } from '../helpers/load.js'
import { within } from '../helpers/promised.js'
import { refusal, until } from '../helpers/until.js'
import { binaries, startCluster, type Node, type RedisCluster } from '../helpers/redis-nodes.js'
import { emptyNamespace } from '../helpers/redis.js'
import { requireOrSkip } from '../helpers/require.js'

const installed = requireOrSkip(t, binaries.server, 'redis-server', 'apt-get install redis-server')

const urlsOf = ({ nodes }: RedisCluster) => nodes.map(({ port }) => `redis://127.0.0.1:${port}`)
const key = '{flags}:documents'

/** Holds what a fault did to the promises: writes back within 8 s, wake-ups or polls never silent for 3 s, what is written served everywhere within 3 s. */
async function hold (t: Test, what: string, measure: () => Promise<Figures>): Promise<void> {
  await within(t, { [`${what}: no write`]: 8000, [`${what}: silent`]: 3000, [`${what}: until a change is visible`]: 3000 }, async () => {
    const { unwritable, silent, visible } = await measure()
    return { [`${what}: no write`]: unwritable, [`${what}: silent`]: silent, [`${what}: until a change is visible`]: visible }
  })
}

t.test('row 10: on a Cluster reads never stop, writes are back within 8 s and changes seen within 3 s, whatever becomes of its nodes', { skip: !installed }, async (t) => {
  const cluster = await startCluster(t)
  const { nodes } = cluster
  const healthy = async () => {
    let reached: number | undefined
    await until(async () => {
      const states = await Promise.all(nodes.map(async ({ client }) => /cluster_state:ok[^]*cluster_slots_ok:16384/.test(await client.cluster('INFO').catch(() => '') as string) && !/fail|handshake/.test(await client.cluster('NODES') as string)))
      const { client } = await cluster.ownerOf(key)
      const replication = await client.info('replication')
      const replica = /^slave\d.*state=online,offset=(\d+)/m.exec(replication)
      if (!states.every(Boolean) || replica === null) return false
      // One that has just come is sent nothing for a while; if it were to take over now, what was written meanwhile would be lost.
      reached ??= Number(/^master_repl_offset:(\d+)/m.exec(replication)![1])
      return Number(replica[1]) >= reached
    })
  }

  const replaced = (node: Node) => async () => await cluster.ownerOf(key, node) !== node

  await t.test('the slot of a key is the one that Redis has for it', async (t) => {
    for (const key of ['{flags}:documents', 'a', '', 'tenant:{flags}:log', '{a}{b}', '{}x', 'ü{ö}', '{a', 'a}b{c}']) t.equal(slotOf(key), await cluster.slotOf(key), key)
  })

  const connections = async () => (await Promise.all(nodes.map(({ client }) => client.client('LIST') as Promise<string>))).join('').split('\n').filter(Boolean).length

  await t.test('everything that was opened is closed', async (t) => {
    const before = await connections()
    const store = new RedisStore({ redis: { nodes: urlsOf(cluster) } })
    await store.read()
    t.ok(await connections() > before)
    await store.close()
    await until(async () => await connections() <= before)
  })

  await t.test('experiments lie on all of the nodes, and are counted as anywhere', async (t) => {
    const open = () => patient(new RedisLedger({ redis: { nodes: urlsOf(cluster) } }))
    await ledgerContract(t, () => ({ open, shared: true, keeps: true }))
    const ledger = open()
    t.teardown(() => ledger.close())
    const owners = new Set<Node>()
    const before = await connections()
    for (let rollout = 0; rollout < 400; rollout++) await ledger.sums(`rollout-${rollout}`)
    await until(async () => await connections() <= before + 300) // those to nothing that is still counted are left
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
    t.teardown(() => stranger.close())
    t.notMatch(await refusal(stranger, /WRONGPASS/), /wr0ng/)
  })

  await t.test('one node given as if it were the only one is told how to give a Cluster', async (t) => {
    const owner = await cluster.ownerOf(key)
    const store = new RedisStore({ redis: `redis://127.0.0.1:${nodes.find((node) => node !== owner)!.port}` })
    t.teardown(() => store.close())
    t.ok(await refusal(store, /a Cluster is given as \{ nodes \}/))
  })

  await t.test('while the owner of the slot is silent its replica is asked, and believed where it knows as much or more', async (t) => {
    // Nobody takes over meanwhile, however busy this machine is.
    const patience = async (ms: number) => await Promise.all(nodes.map(({ client }) => client.config('SET', 'cluster-node-timeout', ms)))
    const store = new RedisStore({ redis: urlsOf(cluster).join(','), namespace: 'silent' })
    t.teardown(() => store.close())
    const write = async (key: string) => {
      const { position: { epoch } } = await store.read()
      await store.write({ kind: 'flag', key, document: '{}', expected: 0, epoch, by: null, id: randomUUID() })
      return (await store.read()).position
    }
    const [before, now] = [await write('one'), await write('two')]
    const owner = await cluster.ownerOf('{silent}:documents')
    await until(async () => Number(await owner.client.wait(1, 1000)) === 1)
    await patience(60_000)
    owner.signal('SIGSTOP')
    t.teardown(() => owner.signal('SIGCONT'))
    const ahead = { ...now, revision: now.revision + 1, token: 'of a write that never reached the replica' }
    const [same, later, gone] = await Promise.all([store.read(now), store.read(before), store.read(ahead).catch((error) => error)])
    t.match(same, { kind: 'changes', position: now, changes: [] })
    t.match(later, { kind: 'changes', position: now, changes: [{ key: 'two' }] })
    t.match(gone, { code: 'FST_FLAGS_STORE_UNAVAILABLE' }, 'a replica that is behind is no loss')
    owner.signal('SIGCONT')
    await patience(2000)
    await healthy()
  })

  await t.test('the owner of the slot is killed and frozen, then others are, then the slot moves', async (t) => {
    const { during, end } = await startLoad(t, { nodes: urlsOf(cluster) })

    await hold(t, 'the owner of the slot was killed', async () => {
      const owner = await cluster.ownerOf(key)
      const figures = await during(() => owner.signal('SIGKILL'), replaced(owner))
      await owner.restart()
      await healthy()
      return figures
    })
    await hold(t, 'the owner of the slot was frozen', async () => {
      const owner = await cluster.ownerOf(key)
      const figures = await during(() => owner.signal('SIGSTOP'), replaced(owner))
      owner.signal('SIGCONT')
      await healthy()
      return figures
    })
    await hold(t, 'another node was killed, then one more frozen', async () => {
      const owner = await cluster.ownerOf(key)
      const [killed, frozen] = nodes.filter((node) => node !== owner) as [Node, Node]
      const one = await during(() => killed.signal('SIGKILL'))
      const other = await during(() => frozen.signal('SIGSTOP'))
      frozen.signal('SIGCONT')
      await killed.restart()
      await healthy()
      return worse(one, other)
    })
    await hold(t, 'the slot was moved', () => during(() => moveSlot(cluster)))
    await hold(t, 'the slot was moved, in a second', () => during(() => moveSlot(cluster, 1000)))
    await end()
  })
})

function worse (one: Figures, other: Figures): Figures {
  const names = Object.keys(one) as Array<keyof Figures>
  return Object.fromEntries(names.map((name) => [name, Math.max(one[name], other[name])])) as unknown as Figures
}

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
