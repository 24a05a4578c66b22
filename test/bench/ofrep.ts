import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Server } from 'node:net'
import express from 'express'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import flags, { type Flag } from '../../src/index.js'
import { startServer } from '../helpers/redis-server.js'
import { run, type Round } from './load.js'
import { fasterHalf, median, row, type Row } from './measure.js'

/*
 * OFREP over HTTP. One flag against a constant Fastify POST route with bodies of the same sizes, and against the way of tutorials: Express,
 * a HGETALL and an md5 for each check. 1,000 flags against JSON.stringify of a ready answer; a 304 against a constant one.
 * Rounds alternate; what counts is the median of the faster half, by the clock and by this process's CPU.
 */

const rounds = 9
const body = JSON.stringify({ context: { targetingKey: 'user-123456', plan: 'pro', age: 30, country: 'DE' } })
const one = '/ofrep/v1/evaluate/flags/targeted'
const all = '/ofrep/v1/evaluate/flags'

export async function ofrep (): Promise<Row[]> {
  const few = await build({ targeted })
  const many = await build(Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`flag-${i}`, kinds[i % kinds.length]!])))
  const rows: Row[] = []
  try {
    const constant = await constantFor(few, one)
    for (const connections of [50, 200]) rows.push(...await compare(`one flag by OFREP at ${connections} connections`, few, constant, post(one), post(one), 1 / 0.9, connections))
    rows.push(...await againstTutorial(few))

    const { payload, headers } = await many.inject({ method: 'POST', url: all, headers: json, payload: body })
    const ready: unknown = JSON.parse(payload)
    const stringified = await listen(async (app) => { app.post(all, async (request, reply) => reply.type('application/json; charset=utf-8').send(JSON.stringify(ready))) })
    rows.push(...await compare('1,000 flags by OFREP, against JSON.stringify', many, stringified, post(all), post(all), 1 / 1.8))

    const etag = String(headers.etag)
    const unchanged = await listen(async (app) => { app.post(all, async (request, reply) => reply.header('etag', etag).header('cache-control', 'private, no-cache').code(304).send()) })
    const again = post(all, `If-None-Match: ${etag}\r\n`)
    rows.push(...await compare('1,000 flags by OFREP, unchanged: 304', many, unchanged, again, again, 1 / 0.8))
    for (const app of [constant, stringified, unchanged]) await app.close()
  } finally {
    await few.close()
    await many.close()
  }
  return rows
}

const json = { 'content-type': 'application/json' }
const post = (path: string, lines = '') => `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${lines}Content-Length: ${body.length}\r\n\r\n${body}`

const targeted: Flag = {
  enabled: true,
  serve: { percentage: 25 },
  rules: [{ name: 'paying', when: { all: [{ attribute: 'plan', operator: 'in', value: ['pro', 'team'] }, { attribute: 'age', operator: 'gte', value: 18 }] }, serve: 'on' }]
}
const kinds: Flag[] = [{ enabled: true }, { enabled: true, serve: { percentage: 25 } }, targeted, { enabled: false }, { enabled: true, variants: ['a', 'b', 'c'], serve: { split: { a: 50, b: 25, c: 25 } } }]

async function build (documents: Record<string, Flag>): Promise<FastifyInstance> {
  return await listen(async (app) => {
    await app.register(flags, { store: 'memory', evaluation: { identity: 'caller' } })
    await app.flags.admin.import({ flags: documents })
  })
}

async function listen (add: (app: FastifyInstance) => Promise<unknown>): Promise<FastifyInstance> {
  const app = Fastify()
  await add(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app
}

/** Answers the same bytes to the same bytes. */
async function constantFor (app: FastifyInstance, path: string): Promise<FastifyInstance> {
  const { payload, headers } = await app.inject({ method: 'POST', url: path, headers: json, payload: body })
  return await listen(async (app) => {
    app.post(path, (request, reply) => {
      reply.header('cache-control', headers['cache-control'])
      reply.type(String(headers['content-type']))
      return reply.send(payload)
    })
  })
}

/** A flag as one JSON field of a hash, a rule, and a percentage by md5. */
async function againstTutorial (ours: FastifyInstance): Promise<Row[]> {
  const redis = process.env.REDIS_URL === undefined ? await startServer() : { url: process.env.REDIS_URL, stop: async () => {} }
  const client = new Redis(redis.url)
  const hash = 'bench-tutorial-flag:targeted'
  await client.hset(hash, { enabled: 'true', percentage: '25', plans: 'pro,team', age: '18' })
  const app = express()
  app.post('/check/:key', express.json(), async (request, response) => {
    const { key } = request.params
    const { context } = request.body as { context: { targetingKey: string, plan: string, age: number } }
    const flag = await client.hgetall(`bench-tutorial-flag:${key}`)
    const drawn = parseInt(createHash('md5').update(`${key}:${context.targetingKey}`).digest('hex').slice(0, 8), 16) % 100
    const matches = flag.plans!.split(',').includes(context.plan) && context.age >= Number(flag.age)
    response.json({ key, value: flag.enabled === 'true' && (matches || drawn < Number(flag.percentage)) })
  })
  const server: Server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    return await compare('one flag by OFREP, against Express, HGETALL and md5', ours, { server }, post(one), post('/check/targeted'), 1 / 5)
  } finally {
    server.close()
    await client.del(hash)
    client.disconnect()
    await redis.stop()
  }
}

async function compare (name: string, first: { server: Server }, second: { server: Server }, request: string, other: string, target: number, connections = 50): Promise<Row[]> {
  const ours: Round[] = []
  const limit: Round[] = []
  for (let round = 0; round < rounds; round++) {
    const both = [async () => { ours.push(await run(first, request, connections)) }, async () => { limit.push(await run(second, other, connections)) }]
    if (round % 2 === 1) both.reverse()
    for (const one of both) await one()
  }
  const microseconds = { time: ({ rate }: Round) => 1e6 / rate, CPU: ({ cpu }: Round) => cpu }
  return Object.entries(microseconds).map(([what, of]) => {
    const typical = (all: Round[]) => median(fasterHalf(all.map(of)))
    return row(`${name}, ${what}`, typical(ours), typical(limit), target, 'µs')
  })
}
