import { randomUUID } from 'node:crypto'
import { open, readFile, rm, stat, utimes } from 'node:fs/promises'
import { hostname } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { isMissing, replaceFile } from './file-disk.js'

const staleAfter = 10_000
const heartbeatEvery = 2000

/**
 * Who may write: a file with the holder's process id and host, touched every two seconds. A holder that is gone is known at
 * once by its process id, from another host or container after ten seconds without a touch.
 */
export class FileLock {
  readonly #path: string
  readonly #nonce = randomUUID()
  #held = false
  #heartbeat: NodeJS.Timeout | undefined
  #seen: { touched: number, at: number } | undefined

  constructor (path: string) {
    this.#path = path
  }

  /** Takes the lock if nobody holds it; true when it is ours now. */
  async take (): Promise<boolean> {
    if (await this.isOurs()) return true
    try {
      const handle = await open(this.#path, 'wx')
      await handle.writeFile(this.#content)
      await handle.close()
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
      if (!await this.#isAbandoned()) return false
      // Of several who find it abandoned the last to write it has it; all wait until the others have written too.
      await replaceFile(this.#path, this.#content)
      await pause(200)
      if (await this.#holderNonce() !== this.#nonce) return false
    }
    this.#held = true
    clearInterval(this.#heartbeat)
    this.#heartbeat = setInterval(() => { this.#touch().catch(() => {}) }, heartbeatEvery)
    this.#heartbeat.unref()
    return true
  }

  /** True when this process holds the lock still: one that slept may have lost it. */
  async isOurs (): Promise<boolean> {
    return this.#held && await this.#holderNonce() === this.#nonce
  }

  async release (): Promise<void> {
    clearInterval(this.#heartbeat)
    const ours = await this.isOurs().catch(() => false)
    this.#held = false
    if (ours) await rm(this.#path, { force: true })
  }

  /** Who holds it, in words. */
  async holder (): Promise<string> {
    const { pid, host } = await this.#read()
    return pid === undefined ? 'another process' : `process ${String(pid)} on ${String(host)}`
  }

  get #content (): string {
    return JSON.stringify({ pid: process.pid, host: hostname(), lock: this.#nonce }) + '\n'
  }

  async #touch (): Promise<void> {
    const now = new Date()
    if (await this.isOurs()) await utimes(this.#path, now, now)
  }

  async #read (): Promise<{ pid?: unknown, host?: unknown, lock?: unknown }> {
    try {
      return JSON.parse(await readFile(this.#path, 'utf8'))
    } catch (error) {
      if (isMissing(error) || error instanceof SyntaxError) return {}
      throw error
    }
  }

  async #holderNonce (): Promise<unknown> {
    return (await this.#read()).lock
  }

  async #isAbandoned (): Promise<boolean> {
    const { pid, host } = await this.#read()
    const touched = await stat(this.#path).then(({ mtimeMs }) => mtimeMs, () => 0)
    if (host === hostname() && typeof pid === 'number') {
      // Our own id from before we began is that of an earlier process, as in a container that is started again.
      if (pid === process.pid) return touched < Date.now() - process.uptime() * 1000
      if (!isAlive(pid)) return true
    }
    // Seen unchanged for long by our own clock, because a shared disk's may differ.
    if (this.#seen?.touched !== touched) this.#seen = { touched, at: performance.now() }
    return performance.now() - this.#seen.at > staleAfter
  }
}

function isAlive (pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
