import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import Fastify from 'fastify'
import flags from '../../src/index.js'
import { median, row, type Row } from './measure.js'

/*
 * 1,000 open event streams: how long after a write the last of them is told, and what one that says nothing costs in memory.
 * The clients are a process of their own.
 */

const count = 1000
const writes = 15

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

export async function streams (): Promise<Row[]> {
  const app = Fastify()
  await app.register(flags, { store: 'memory', evaluation: { identity: 'caller' } })
  for (let i = 0; i < 100; i++) await app.flags.admin.put(`flag-${i}`, { enabled: true })
  await app.listen({ port: 0, host: '127.0.0.1' })
  await openThrough(app.server.address() as AddressInfo, 20) // what is made once is made
  const before = memory()
  const client = await openThrough(app.server.address() as AddressInfo, count)
  const each = (memory() - before) / count / 1024

  const times: number[] = []
  for (let i = 0; i < writes; i++) {
    const told = once(client, 'message')
    const start = performance.now()
    await app.flags.admin.put('flag-0', { enabled: i % 2 === 1 }, { version: '*' })
    await told
    times.push(performance.now() - start)
  }
  await app.close()
  client.kill()
  return [
    row('1,000 event streams: the last is told, against 250 ms', median(times), 250, 1, 'ms'),
    row('1,000 event streams: the last is told, the slowest of 15, against 250 ms', Math.max(...times), 250, 1, 'ms'),
    row('an idle event stream: memory, against 16 KB', each, 16, 1, 'KB')
  ]
}

/** Bytes that are held, in V8's heap and beside it. */
function memory (): number {
  for (let i = 0; i < 5; i++) collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** A process that holds so many streams open, and tells when all of them were told of a change. */
async function openThrough ({ port }: AddressInfo, streams: number) {
  const client = fork(fileURLToPath(import.meta.url), ['client', String(port), String(streams)])
  await once(client, 'message')
  return client
}

async function hold (port: number, streams: number): Promise<void> {
  let told = 0
  await Promise.all(Array.from({ length: streams }, async () => {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write('GET /ofrep/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await once(socket, 'data')
    socket.on('data', (data) => {
      if (!data.includes('refetchEvaluation') || ++told < streams) return
      told = 0
      process.send!('told')
    })
    socket.on('close', () => process.exit())
  }))
  process.send!('open')
}

if (process.argv[2] === 'client') await hold(Number(process.argv[3]), Number(process.argv[4]))
