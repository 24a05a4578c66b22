import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from './until.js'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { freePort } from './program.js'
import { onPath } from './redis-server.js'
import { requireOrSkip } from './require.js'

/** A Redis process to be killed, frozen and thawed. It keeps what it is given on disk, and ends with the test, or with this process. */
export interface Node {
  url: string
  /** An ordinary connection, to ask and to command. */
  client: Redis
  signal (signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void
  /** Starts it again, with what it has on its disk. */
  restart (): Promise<void>
}

/** Undefined, and the test skipped, where no server is installed. */
export async function startNode (t: Test, args: string[] = []): Promise<Node | undefined> {
  const binary = onPath('redis-server') ?? onPath('valkey-server')
  if (!requireOrSkip(t, binary, 'redis-server', 'apt-get install redis-server')) return undefined
  const folder = await mkdtemp(join(tmpdir(), 'flags-node-'))
  const port = await freePort()
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'yes', '--appendfsync', 'always', '--dir', folder, ...args]
  let running = await run(binary!, options)
  const client = new Redis({ port, commandTimeout: 5000, maxRetriesPerRequest: 0, retryStrategy: () => 50 })
  client.on('error', () => {})
  t.teardown(async () => {
    client.disconnect()
    await running.end()
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  })
  const answers = () => until(() => client.ping().then(() => true, () => false))
  await answers()
  return {
    url: `redis://127.0.0.1:${port}`,
    client,
    signal: (signal) => { process.kill(running.pid, signal) },
    async restart () {
      await running.end()
      running = await run(binary!, options)
      await answers()
    }
  }
}

/** Runs a program under a shell that waits for its own input to end, as it does when this process ends, and then kills it. */
export async function run (binary: string, args: string[]): Promise<{ pid: number, end (): Promise<void> }> {
  const shell = spawn('/bin/sh', ['-c', '"$0" "$@" >/dev/null 2>&1 & echo $!; cat >/dev/null; kill -9 $!', binary, ...args], { stdio: ['pipe', 'pipe', 'ignore'] })
  shell.stdin.on('error', () => {})
  const exited = once(shell, 'exit')
  const [pid] = await once(shell.stdout, 'data')
  return {
    pid: Number(pid),
    async end () {
      shell.stdin.end()
      await exited
    }
  }
}
