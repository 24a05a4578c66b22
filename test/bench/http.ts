import Fastify, { type FastifyInstance } from 'fastify'
import flags, { evaluationRoutes } from '../../src/index.js'
import { run, type Round } from './load.js'
import { fasterHalf, median, row, type Row } from './measure.js'

/*
 * Evaluation over HTTP against a constant Fastify route that answers the same bytes, at 50 connections. Rounds alternate; what counts is the median of the faster half,
 * by the clock and by the CPU: on a busy machine the second is the steadier.
 */

const rounds = 9

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
  const request = `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`
  const ours: Round[] = []
  const limit: Round[] = []
  await listen(app)
  await listen(constant)
  for (let round = 0; round < rounds; round++) {
    const both = [async () => { ours.push(await run(app, request)) }, async () => { limit.push(await run(constant, request)) }]
    if (round % 2 === 1) both.reverse()
    for (const one of both) await one()
  }
  await constant.close()
  const microseconds = { time: ({ rate }: Round) => 1e6 / rate, CPU: ({ cpu }: Round) => cpu }
  return Object.entries(microseconds).map(([what, of]) => {
    const typical = (all: Round[]) => median(fasterHalf(all.map(of)))
    return row(`GET ${path}, ${what}`, typical(ours), typical(limit), 1 / 0.9, 'µs')
  })
}

async function listen (app: FastifyInstance): Promise<void> {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
}
