import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Test } from 'tap'

/** A port in front of a server, to be as a network is: there, gone, or there again. It begins shut. */
export class Gate {
  readonly url: string
  readonly #port: number
  readonly #target: URL
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined

  private constructor (port: number, target: URL) {
    this.#port = port
    this.#target = target
    this.url = `redis://127.0.0.1:${port}`
  }

  static async before (t: Test, url: string): Promise<Gate> {
    const probe = createServer().listen(0, '127.0.0.1')
    await once(probe, 'listening')
    const { port } = probe.address() as AddressInfo
    probe.close()
    await once(probe, 'close')
    const gate = new Gate(port, new URL(url))
    t.teardown(() => gate.shut())
    return gate
  }

  async open (): Promise<void> {
    this.#server = createServer((near) => {
      const far = connect(Number(this.#target.port), this.#target.hostname)
      for (const [from, to] of [[near, far], [far, near]] as const) {
        this.#sockets.add(from)
        from.on('error', () => {})
        from.on('close', () => {
          this.#sockets.delete(from)
          to.destroy()
        })
        from.pipe(to)
      }
    }).listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  /** Refuses new connections and breaks those there are. */
  async shut (): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    server.close()
    for (const socket of this.#sockets) socket.destroy()
    await once(server, 'close')
  }
}
