import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import Fastify, { type FastifyInstance } from 'fastify'
import flags, { evaluationRoutes } from '../../src/index.js'

/*
 * Evaluation over HTTP against a constant Fastify route that answers the same bytes, at 50 connections. The client is a
 * process of its own that only counts bytes, so that the server is what is measured. Rounds alternate; the medians count.
 */

const connections = 50
const rounds = 9
const milliseconds = 700

export interface HttpResult { name: string, ratio: number, atLeast: number, detail: string }

export async function benchHttp (): Promise<HttpResult[]> {
  const app = Fastify()
  await app.register(flags, { store: 'memory' })
  await app.register(evaluationRoutes, { identity: 'caller' })
  await app.flags.admin.put('on-off', { enabled: true })
  await app.flags.admin.put('targeted', {
    enabled: true,
    serve: { percentage: 25 },
    rules: [{ name: 'paying', when: { all: [{ attribute: 'plan', operator: 'in', value: ['pro', 'team'] }, { attribute: 'age', operator: 'gte', value: 18 }] }, serve: 'on' }]
  })
  const results: HttpResult[] = []
  for (const path of ['/flags/on-off/evaluate', '/flags/on-off/evaluate?user=user-1', '/flags/targeted/evaluate?user=user-1', '/flags/targeted/evaluate?user=user-1&plan=pro&age=30']) {
    results.push(await compare(app, path))
  }
  await app.close()
  return results
}

async function compare (app: FastifyInstance, path: string): Promise<HttpResult> {
  const { payload, headers } = await app.inject(path)
  const constant = Fastify()
  constant.get(path.split('?')[0]!, (request, reply) => {
    reply.header('cache-control', headers['cache-control'])
    reply.type(String(headers['content-type']))
    return reply.send(payload)
  })
  const ours: Round[] = []
  const theirs: Round[] = []
  await listen(app)
  await listen(constant)
  for (let round = 0; round < rounds; round++) {
    const both = [() => run(app, path).then((result) => ours.push(result)), () => run(constant, path).then((result) => theirs.push(result))]
    if (round % 2 === 1) both.reverse()
    for (const one of both) await one()
  }
  await constant.close()
  const rate = (all: Round[]) => median(all.map(({ rate }) => rate))
  const cpu = (all: Round[]) => median(all.map(({ cpu }) => cpu))
  return {
    name: `GET ${path}`,
    ratio: median(ours.map(({ rate }, index) => rate / theirs[index]!.rate)),
    atLeast: 0.9,
    detail: `${Math.round(rate(ours))} of ${Math.round(rate(theirs))} req/s; ${cpu(ours).toFixed(1)} and ${cpu(theirs).toFixed(1)} µs CPU a request`
  }
}

async function listen (app: FastifyInstance): Promise<void> {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
}

interface Round { rate: number, cpu: number }

async function run (app: FastifyInstance, path: string): Promise<Round> {
  const { port } = app.server.address() as AddressInfo
  const before = process.cpuUsage()
  const client = fork(fileURLToPath(import.meta.url), ['client', String(port), path])
  const [{ requests, seconds }] = await once(client, 'message') as [{ requests: number, seconds: number }]
  const { user, system } = process.cpuUsage(before)
  await once(client, 'exit')
  return { rate: requests / seconds, cpu: (user + system) / requests }
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

function median (values: number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!
}

if (process.argv[2] === 'client') await ask(Number(process.argv[3]), process.argv[4]!)
else if (process.argv[1] === fileURLToPath(import.meta.url)) for (const { name, ratio, atLeast, detail } of await benchHttp()) console.log(`${name}: ${(ratio * 100).toFixed(1)} % of a constant route (at least ${atLeast * 100} %); ${detail}`)
