import { existsSync, readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import type { Flag } from '../model/flag.js'
import { buildSidecar } from './app.js'
import { report } from './report.js'
import type { Settings } from './settings.js'

/** Why a sidecar could not start, though its settings are right. The process ends with 1. */
export class StartError extends Error {}

/** Runs a sidecar until a signal ends it. Logs are JSON lines on stdout; `tell` gets what a person should read. */
export async function serve (settings: Settings, tell: (text: string) => void): Promise<void> {
  const app = await buildSidecar(settings)
  if (settings.store.kind === 'file') await fill(app, settings.store.path)
  closeWithGrace({ delay: 10_000, logger: false }, async ({ err, signal }) => {
    if (err !== undefined) app.log.fatal({ err }, 'ends after an error that nobody caught')
    else app.log.info({ signal }, 'ends once the requests in flight are answered')
    await app.close()
  })
  const url = await listen(app, settings)
  tell(report(settings, url, [...app.flags.for({}).snapshot.flags()].map(({ key }) => key)))
}

async function listen (app: FastifyInstance, { host, port }: Settings): Promise<string> {
  try {
    await app.listen({ host, port, listenTextResolver: (address) => `listens on ${address}` })
  } catch (error) {
    await app.close()
    const { code, message } = error as NodeJS.ErrnoException
    switch (code) {
      case 'EADDRINUSE': throw new StartError(`port ${port} of ${host} is taken; end what listens there, or choose another with --port (0 takes a free one)`)
      case 'EACCES': throw new StartError(`this user may not listen on port ${port}; choose one above 1023 with --port`)
      case 'EADDRNOTAVAIL': case 'ENOTFOUND': case 'EAI_AGAIN': throw new StartError(`this machine has no address ${host}; choose another with --host`)
      default: throw new StartError(message)
    }
  }
  const { address, family, port: listening } = app.server.address() as AddressInfo
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${listening}`
}

// Until there is a file store: its flags in memory.
async function fill (app: FastifyInstance, path: string): Promise<void> {
  if (!existsSync(path)) return
  const { flags } = JSON.parse(readFileSync(path, 'utf8')) as { flags: Record<string, Flag> }
  for (const [key, flag] of Object.entries(flags)) await app.flags.admin.put(key, flag, { by: 'file' })
}
