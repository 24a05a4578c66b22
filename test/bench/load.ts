import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, type AddressInfo, type Server, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'

/*
 * A load of some connections, each asking again as soon as it has its answer. The client is a process of its own that only
 * counts bytes, so that the server is what is measured.
 */

const milliseconds = 700

/** In a request: one of 500 users, in turn. */
export const someUser = '######'

/** Requests per second, and microseconds of the server's CPU time for each. */
export interface Round { rate: number, cpu: number }

/** One round against a listening app of this process. All answers must have one length; the request may name `someUser`. */
export async function run ({ server }: { server: Server }, request: string, connections = 50): Promise<Round> {
  return await runAt((server.address() as AddressInfo).port, () => process.cpuUsage(), request, connections)
}

/** The same against a port of this machine, with how to learn what CPU time its process has used. */
export async function runAt (port: number, cpuUsage: () => NodeJS.CpuUsage | Promise<NodeJS.CpuUsage>, request: string, connections = 50): Promise<Round> {
  const client = fork(fileURLToPath(import.meta.url), ['client', String(port), request, String(connections)])
  const exited = once(client, 'exit')
  const before = await cpuUsage()
  const [{ requests, seconds }] = await once(client, 'message') as [{ requests: number, seconds: number }]
  const after = await cpuUsage()
  await exited
  return { rate: requests / seconds, cpu: (after.user + after.system - before.user - before.system) / requests }
}

async function ask (port: number, text: string, connections: number): Promise<void> {
  const requests = Array.from({ length: text.includes(someUser) ? 500 : 1 }, (_, i) => Buffer.from(text.replace(someUser, String(100_000 + i))))
  const next = () => requests[sent++ % requests.length]!
  let sent = 0
  let bytes = 0
  let length = 0
  const sockets = await Promise.all(Array.from({ length: connections }, async () => {
    const socket = connect(port, '127.0.0.1').setNoDelay()
    await once(socket, 'connect')
    socket.write(next())
    length = await readAnswer(socket)
    return socket
  }))
  const start = performance.now()
  for (const socket of sockets) {
    let open = length
    socket.on('data', (data) => {
      bytes += data.length
      open -= data.length
      if (open > 0) return
      open = length
      socket.write(next())
    })
    socket.write(next())
  }
  setTimeout(() => {
    process.send!({ requests: Math.floor(bytes / length), seconds: (performance.now() - start) / 1000 }, () => process.exit(0))
  }, milliseconds)
}

/** Reads one answer to its end, and tells its length. */
async function readAnswer (socket: Socket): Promise<number> {
  let text = ''
  while (true) {
    const [data] = await once(socket, 'data') as [Buffer]
    text += data.toString('latin1')
    const end = text.indexOf('\r\n\r\n') + 4
    if (end > 3 && text.length >= end + Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1] ?? 0)) return text.length
  }
}

if (process.argv[2] === 'client') await ask(Number(process.argv[3]), process.argv[4]!, Number(process.argv[5]))
