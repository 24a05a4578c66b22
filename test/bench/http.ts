import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import Fastify, { type FastifyInstance } from 'fastify'
import flags, { evaluationRoutes } from '../../src/index.js'
import { fasterHalf, median, row, type Row } from './measure.js'

/*
 * Evaluation over HTTP against a constant Fastify route that answers the same bytes, at 50 connections. The client is a
 * process of its own that only counts bytes, so that the server is what is measured. Rounds alternate; what counts is the median of the faster half,
 * by the clock and by the CPU: on a busy machine the second is the steadier.
 */

const connections = 50
const rounds = 9
const milliseconds = 700

export async function http (): Promise<Row[]> {
  const app = Fastify()
  await app.register(flags, { store: 'memory' })
  await app.register(evaluationRoutes, { identity: 'caller' })
  await app.flags.admin.put('on-off', { enabled: true })
  await app.flags.admin.put('targeted', {
    enabled: true,
    serve: { percentage: 25 },
    rules: [{ name: 'paying', when: { all: [{ attribute: 'plan', operator: 'in', value: ['pro', 'team'] }, { attribute: 'age', operator: 'gte', value: 18 }] }, serve: 'on' }]
  })
  const rows: Row[] = []
  for (const path of ['/flags/on-off/evaluate', '/flags/on-off/evaluate?user=user-1', '/flags/targeted/evaluate?user=user-1&plan=pro&age=30']) {
    rows.push(...await compare(app, path))
  }
  await app.close()
  return rows
}

async function compare (app: FastifyInstance, path: string): Promise<Row[]> {
  const { payload, headers } = await app.inject(path)
  const constant = Fastify()
  constant.get(path.split('?')[0]!, (request, reply) => {
    reply.header('cache-control', headers['cache-control'])
    reply.type(String(headers['content-type']))
    return reply.send(payload)
  })
  const ours: Round[] = []
  const limit: Round[] = []
  await listen(app)
  await listen(constant)
  for (let round = 0; round < rounds; round++) {
    const both = [async () => { ours.push(await run(app, path)) }, async () => { limit.push(await run(constant, path)) }]
    if (round % 2 === 1) both.reverse()
    for (const one of both) await one()
  }
  await constant.close()
  const typical = (all: Round[], of: keyof Round) => median(fasterHalf(all.map((round) => round[of])))
  return ([['time', 'time'], ['cpu', 'CPU']] as const).map(([of, what]) =>
    row(`GET ${path}, ${what}`, typical(ours, of), typical(limit, of), 1 / 0.9, 'µs'))
}

async function listen (app: FastifyInstance): Promise<void> {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
}

/** Microseconds a request, by the clock and of this process. */
interface Round { time: number, cpu: number }

async function run (app: FastifyInstance, path: string): Promise<Round> {
  const { port } = app.server.address() as AddressInfo
  const before = process.cpuUsage()
  const client = fork(fileURLToPath(import.meta.url), ['client', String(port), path])
  const [{ requests, seconds }] = await once(client, 'message') as [{ requests: number, seconds: number }]
  const { user, system } = process.cpuUsage(before)
  await once(client, 'exit')
  return { time: seconds * 1e6 / requests, cpu: (user + system) / requests }
}

/** Each connection asks again as soon as it has its answer; all answers have one length. */
async function ask (port: number, path: string): Promise<void> {
  const request = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  let bytes = 0
  let length = 0
  const sockets = await Promise.all(Array.from({ length: connections }, async () => {
    const socket = connect(port, '127.0.0.1').setNoDelay()
    await once(socket, 'connect')
    socket.write(request)
    const [first] = await once(socket, 'data') as [Buffer]
    length = first.length
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
      socket.write(request)
    })
    socket.write(request)
  }
  setTimeout(() => {
    process.send!({ requests: Math.floor(bytes / length), seconds: (performance.now() - start) / 1000 }, () => process.exit(0))
  }, milliseconds)
}

if (process.argv[2] === 'client') await ask(Number(process.argv[3]), process.argv[4]!)
