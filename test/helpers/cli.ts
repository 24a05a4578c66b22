import { spawn, type ChildProcess } from 'node:child_process'
import { resolve } from 'node:path'
import type { Test } from 'tap'
import { run } from '../../src/sidecar/run.js'
import type { Terminal } from '../../src/sidecar/terminal.js'
import { endWith } from './end-with.js'

/** The real command line in a process of its own, ended with the test. */
export interface Cli {
  child: ChildProcess
  /** What it has written so far. */
  out: { stdout: string, stderr: string }
  /** The address it listens on, once it says so; rejects when it ends before. */
  url: Promise<string>
  /** Its exit code once it has ended, or the signal that ended it. */
  ended: Promise<number | string>
  /** Sends a signal and waits for the end. */
  end (signal?: NodeJS.Signals): Promise<number | string>
}

export interface CliOptions { cwd?: string, env?: Record<string, string> }

/** Starts `fastify-flags …argv` as it was built last, with no settings of this machine's but those given: from its sources it would take seconds. */
export function startCli (t: Test, argv: string[], { cwd, env = {} }: CliOptions = {}): Cli {
  const own = Object.entries(process.env).filter(([name]) => !/^(?:FLAGS_\w+|REDIS_URL|PORT|LOG_LEVEL)$/.test(name))
  const child = spawn(process.execPath, [resolve('dist/sidecar/cli.js'), ...argv], {
    cwd,
    env: { ...Object.fromEntries(own), ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const out = { stdout: '', stderr: '' }
  const ended = endWith(t, child)
  const url = new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (data) => { out.stdout += data })
    child.stderr.on('data', (data) => {
      out.stderr += data
      const address = /listens on (http:\/\/\S+)[^]*\n/.exec(out.stderr)?.[1]
      if (address !== undefined) resolve(address)
    })
    void ended.then((code) => reject(new Error(`it ended with ${code}: ${out.stderr}`)))
  })
  url.catch(() => {}) // told by whoever waits for it
  return { child, out, url, ended, end: (signal = 'SIGTERM') => { child.kill(signal); return ended } }
}

/** Runs a command to its end. */
export async function runCli (t: Test, argv: string[], options?: CliOptions): Promise<{ code: number | string, stdout: string, stderr: string }> {
  const cli = startCli(t, argv, options)
  return { code: await cli.ended, ...cli.out }
}

/** Runs a command to its end within this process: what costs no start of another. */
export async function callCli (argv: string[], terminal: Partial<Pick<Terminal, 'env' | 'colours' | 'live'>> & { input?: string } = {}): Promise<{ code: number, stdout: string, stderr: string }> {
  let stdout = ''
  let stderr = ''
  const { env = {}, colours = false, live = false, input = '' } = terminal
  const code = await run(argv, {
    env,
    colours,
    live,
    out: (text) => { stdout += text },
    err: (text) => { stderr += text },
    input: (async function * () { yield input })()
  })
  return { code, stdout, stderr }
}
