import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { endWith } from './end-with.js'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** Runs a program until the test ends, and resolves once it listens as often as it should; fails with what it printed. */
export async function startProgram (test: Test, args: string[], { env = {}, cwd = root, listeners = 1 }: { env?: NodeJS.ProcessEnv, cwd?: string, listeners?: number } = {}): Promise<{ addresses: string[] }> {
  const child = spawn(process.execPath, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = endWith(test, child, 'SIGTERM')
  let printed = ''
  const addresses: string[] = []
  await new Promise<void>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      printed += chunk.toString()
      addresses.splice(0, Infinity, ...[...printed.matchAll(/listen(?:ing at|s on) (http:\/\/127\.0\.0\.1:\d+)/gi)].map((match) => match[1]!))
      if (addresses.length >= listeners) resolve()
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    void ended.then((code) => reject(new Error(`${args.join(' ')} ended with ${code}:\n${printed}`)))
  })
  return { addresses }
}

export async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
