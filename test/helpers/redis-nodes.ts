import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { run, type Node as SingleNode } from './redis-node.js'
import { until } from './until.js'
import { onPath } from './redis-server.js'

/** A process of Redis or of a Sentinel, as in `redis-node.ts`. */
export interface Node extends Omit<SingleNode, 'url'> { port: number }

export interface Sentinels { sentinels: Node[], servers: Node[], name: string, primary (): Promise<Node> }
export interface RedisCluster {
  nodes: Node[]
  /** Asks any but one, which may be dead or frozen. */
  ownerOf (key: string, exceptAsking?: Node): Promise<Node>
  slotOf (key: string): Promise<number>
}

/** What is needed to run several servers; undefined where it is not installed. */
export const binaries = { server: onPath('redis-server'), sentinel: onPath('redis-sentinel') }

/** How long a server is silent until the others take it for dead; milliseconds. */
const downAfter = 2000

/** Three Sentinels over a primary and two replicas. */
export async function startSentinels (t: Test): Promise<Sentinels> {
  const name = 'flags-primary'
  const primary = await startServer(t, [])
  const replicas = await Promise.all([1, 2].map(() => startServer(t, ['--replicaof', '127.0.0.1', String(primary.port)])))
  const servers = [primary, ...replicas]
  await synced(primary, 2)
  const sentinels = await Promise.all([1, 2, 3].map(() => startNode(t, binaries.sentinel!, [], [
    `sentinel monitor ${name} 127.0.0.1 ${primary.port} 2`,
    `sentinel down-after-milliseconds ${name} ${downAfter}`,
    `sentinel failover-timeout ${name} 10000`
  ])))
  for (const { client } of sentinels) {
    await until(async () => {
      const facts = await client.call('SENTINEL', 'MASTER', name) as string[]
      const fact = (name: string) => facts[facts.indexOf(name) + 1]
      return fact('num-slaves') === '2' && fact('num-other-sentinels') === '2'
    })
  }
  return {
    sentinels,
    servers,
    name,
    async primary () {
      const [, port] = await sentinels[0]!.client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name) as [string, string]
      return servers.find((node) => node.port === Number(port))!
    }
  }
}

/** A Cluster of three owners and a replica of each. */
export async function startCluster (t: Test): Promise<RedisCluster> {
  const nodes = await Promise.all(Array.from({ length: 6 }, () => startServer(t, ['--cluster-enabled', 'yes', '--cluster-node-timeout', String(downAfter)])))
  const owners = nodes.slice(0, 3)
  await Promise.all(owners.map(({ client }, i) => client.cluster('ADDSLOTSRANGE', Math.ceil(i * 16384 / 3), Math.ceil((i + 1) * 16384 / 3) - 1)))
  await Promise.all(nodes.map(({ client }, i) => client.cluster('SET-CONFIG-EPOCH', i + 1)))
  for (const { port } of nodes.slice(1)) await nodes[0]!.client.cluster('MEET', '127.0.0.1', port)
  const known = (count: number) => Promise.all(nodes.map(({ client }) => until(async () => (await linesOf(client)).filter((line) => line.includes('connected') && !line.includes('handshake')).length === count)))
  await known(6)
  for (const [i, { client }] of nodes.slice(3).entries()) await client.cluster('REPLICATE', await owners[i]!.client.cluster('MYID') as string)
  await Promise.all(nodes.map(({ client }) => until(async () => {
    return /cluster_state:ok/.test(await client.cluster('INFO') as string) && (await linesOf(client)).filter((line) => line.includes('slave')).length === 3
  })))
  for (const owner of owners) await synced(owner, 1)
  const slotOf = async (key: string, exceptAsking?: Node) => Number(await nodes.find((node) => node !== exceptAsking)!.client.cluster('KEYSLOT', key))
  return {
    nodes,
    slotOf,
    async ownerOf (key, exceptAsking) {
      const slot = await slotOf(key, exceptAsking)
      for (const node of nodes) {
        if (node === exceptAsking) continue
        const ranges = await node.client.cluster('SLOTS').catch(() => undefined) as Array<[number, number, [string, number]]> | undefined
        const range = ranges?.find(([first, last]) => first <= slot && slot <= last)
        if (range !== undefined) return nodes.find(({ port }) => port === range[2][1])!
      }
      throw new Error(`nobody owns slot ${slot}`)
    }
  }
}

/** Waits until a primary has at least so many replicas that hold what it holds: only such a one can take over. */
export async function synced (primary: Node, replicas: number): Promise<void> {
  await until(async () => [...(await primary.client.info('replication').catch(() => '')).matchAll(/^slave\d.*state=online/gm)].length >= replicas)
}

async function linesOf (client: Redis): Promise<string[]> {
  return (await client.cluster('NODES') as string).trim().split('\n')
}

async function startServer (t: Test, args: string[]): Promise<Node> {
  // By default a replica is kept waiting for others, to be sent the data together.
  return await startNode(t, binaries.server!, [...args, '--repl-diskless-sync-delay', '0'])
}

async function startNode (t: Test, binary: string, args: string[], config: string[] = []): Promise<Node> {
  const folder = await mkdtemp(join(tmpdir(), 'flags-node-'))
  const port = await freePort()
  const file = join(folder, 'redis.conf')
  await writeFile(file, [`port ${port}`, 'bind 127.0.0.1', `dir ${folder}`, 'save ""', ...config, ''].join('\n'))
  let running: Awaited<ReturnType<typeof run>>
  const client = new Redis({ port, lazyConnect: true, commandTimeout: 5000, maxRetriesPerRequest: 0, retryStrategy: () => 50 })
  client.on('error', () => {})
  t.teardown(async () => {
    client.disconnect()
    await running?.end()
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  })
  const start = async () => {
    running = await run(binary, [file, ...args])
    await until(() => client.ping().then(() => true, () => false))
  }
  await start()
  return {
    port,
    client,
    signal: (signal) => { process.kill(running.pid, signal) },
    restart: async () => {
      await running.end()
      await start()
    }
  }
}

/** A port that is free, and so is the one 10,000 above it, which a Cluster's node takes too. */
async function freePort (): Promise<number> {
  for (;;) {
    const first = createServer().listen(0, '127.0.0.1')
    await once(first, 'listening')
    const { port } = first.address() as { port: number }
    const second = port < 55_536 ? createServer().listen(port + 10_000, '127.0.0.1') : undefined
    const free = second !== undefined && await once(second, 'listening').then(() => true, () => false)
    for (const server of [first, second]) server?.close()
    if (free) return port
  }
}
