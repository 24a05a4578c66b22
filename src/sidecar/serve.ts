import { randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { resolve } from 'node:path'
import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import type { FastifyFlags } from '../facade.js'
import { buildSidecar } from './app.js'
import { FailedError } from './failures.js'
import { logsWritten, outliveReaders } from './output.js'
import { report } from './report.js'
import type { Settings } from './settings.js'
import { isEmpty } from './token-settings.js'

/** Milliseconds after a signal in which what was asked is answered, and what was counted is written. */
const grace = 10_000

/** Runs a sidecar until a signal ends the process. Logs are JSON lines on stdout; `tell` is told what a person should read. */
export async function serve (settings: Settings, tell: (text: string) => void): Promise<void> {
  if (settings.dev && isEmpty(settings.tokens.admin)) settings.tokens.admin = { dev: [randomBytes(24).toString('base64url')] }
  outliveReaders()
  const app = await buildSidecar(settings)
  if (settings.store.kind === 'file' && await isUnreadable(app.flags)) { // Redis may come yet; a file does not mend itself
    const path = resolve(settings.store.path)
    const why = app.flags.problem?.message ?? 'it did not answer in time'
    await app.close()
    throw new FailedError(why.includes(path) ? why : `${path} cannot be read: ${why}`)
  }
  const url = await listen(app, settings)
  closeWithGrace({ delay: grace, logger: false }, async ({ err, signal }) => {
    if (err === undefined) app.log.info({ signal }, 'ends once what was asked is answered')
    else app.log.fatal({ err }, 'ends after an error that nobody caught')
    // A server that closes no longer looks for late requests, and waits for those that never come whole.
    const late = setTimeout(() => { app.server.closeAllConnections() }, Math.min(settings.requestTimeout + 3000, grace - 2000))
    await app.close()
    clearTimeout(late)
    await logsWritten()
  })
  tell(report(settings, url, app.flags))
}

/** A slow disk or a large file may take longer than the start waits; it is wrong only once that is said. */
async function isUnreadable (flags: FastifyFlags): Promise<boolean> {
  if (flags.status === 'NOT_READY' && flags.problem === null) {
    await new Promise<void>((resolve) => { for (const event of ['ready', 'problem'] as const) flags.once(event, () => resolve()) })
  }
  return flags.status === 'NOT_READY'
}

async function listen (app: FastifyInstance, { host, port }: Settings): Promise<string> {
  try {
    await app.listen({ host, port, listenTextResolver: (address) => `listens on ${address}` })
  } catch (error) {
    await app.close()
    const { code, message } = error as NodeJS.ErrnoException
    switch (code) {
      case 'EADDRINUSE': throw new FailedError(`port ${port} of ${host} is taken; end what listens there, or choose another with --port (0 takes a free one)`)
      case 'EACCES': throw new FailedError(`this user may not listen on port ${port}; choose one above 1023 with --port`)
      case 'EADDRNOTAVAIL': case 'ENOTFOUND': case 'EAI_AGAIN': throw new FailedError(`this machine has no address ${host}; choose another with --host`)
      default: throw new FailedError(message)
    }
  }
  const { address, family, port: taken } = app.server.address() as AddressInfo
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${taken}`
}
