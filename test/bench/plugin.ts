import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import flags, { type Flag } from '../../src/index.js'
import type { Guard } from '../../src/model/guard.js'
import { run, type Round } from './load.js'
import { median, row, type Row } from './measure.js'

/*
 * Five evaluations in a handler, the context from headers, against the same app without flags: the time a request takes at
 * 50 connections, and the server's CPU time for it, which other processes disturb less. Rounds alternate; the medians count.
 */

const rounds = 15
const target = 1 / 0.95 // at least 95 % of the requests per second
const countedTarget = 1 / 0.97

const headers = {
  'the three headers': 'X-User-Id: user-123456\r\nX-User-Groups: beta,employees\r\nX-Region: eu\r\n',
  'eight more headers': 'X-User-Id: user-123456\r\nX-User-Groups: beta,employees\r\nX-Region: eu\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nCookie: session=0123456789abcdef\r\nReferer: http://localhost/\r\nCache-Control: no-cache\r\nOrigin: http://localhost\r\n'
}

export async function plugin (): Promise<Row[]> {
  const [flagged, plain] = [await withFlags(), withoutFlags()]
  for (const app of [flagged, plain]) await app.listen({ port: 0, host: '127.0.0.1' })
  const rows: Row[] = []
  for (const [what, lines] of Object.entries(headers)) {
    rows.push(...await compare(`five evaluations, ${what}`, flagged, plain, `GET / HTTP/1.1\r\nHost: localhost\r\n${lines}\r\n`))
  }
  rows.push(...await compare('a route that reads no flag', flagged, plain, 'GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n'))
  await flagged.close()
  await plain.close()
  return [...rows, ...await counting()]
}

/** What it costs that experiments count all five flags, and guards watch how the requests end; against the same flags without. */
async function counting (): Promise<Row[]> {
  const stages = [{ percentage: 50 }, { percentage: 100 }]
  const guard: Guard = { errors: {}, latency: { overMs: 500 } }
  const [counted, uncounted] = await Promise.all([
    withFive({ enabled: true, serve: { stages, guard }, experiment: {} }),
    withFive({ enabled: true, serve: { stages } })
  ])
  for (const app of [counted, uncounted]) await app.listen({ port: 0, host: '127.0.0.1' })
  const rows = await compare('five flags that are counted, as without', counted, uncounted, 'GET / HTTP/1.1\r\nHost: localhost\r\nX-User-Id: user-123456\r\n\r\n', countedTarget)
  await counted.close()
  await uncounted.close()
  return rows
}

async function withFive (flag: Flag): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(flags, { store: 'memory' })
  const keys = ['one', 'two', 'three', 'four', 'five']
  for (const key of keys) await app.flags.admin.put(key, flag)
  app.get('/', async ({ flags }) => ({ on: keys.map((key) => flags.isEnabled(key)) }))
  return app
}

async function withFlags (): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(flags, { store: 'memory' })
  const { admin } = app.flags
  await admin.put('on-off', { enabled: true })
  await admin.put('targeted', { enabled: true, serve: 'off', targets: [{ users: Array.from({ length: 10_000 }, (_, i) => `user-${i}`), groups: ['employees'] }] })
  await admin.put('quarter', { enabled: true, serve: { percentage: 25 } })
  await admin.put('ruled', { enabled: true, serve: 'off', rules: [{ when: { attribute: 'region', operator: 'in', value: ['eu', 'uk'] }, serve: { percentage: 25 } }] })
  await admin.put('split', { enabled: true, variants: ['a', 'b', 'c'], serve: { split: { a: 50, b: 25, c: 25 } } })
  const show = (request: FastifyRequest) => ({
    onOff: request.flags.isEnabled('on-off'),
    targeted: request.flags.isEnabled('targeted'),
    quarter: request.flags.isEnabled('quarter'),
    ruled: request.flags.isEnabled('ruled'),
    split: request.flags.getValue('split', 'a')
  })
  app.get('/', async (request) => show(request))
  app.get('/none', async () => ({ hello: 'world' }))
  return app
}

function withoutFlags (): FastifyInstance {
  const app = Fastify()
  app.get('/', async () => ({ onOff: true, targeted: true, quarter: false, ruled: false, split: 'a' }))
  app.get('/none', async () => ({ hello: 'world' }))
  return app
}

async function compare (name: string, flagged: FastifyInstance, plain: FastifyInstance, request: string, most = target): Promise<Row[]> {
  const [ours, theirs]: [Round[], Round[]] = [[], []]
  for (let round = 0; round < rounds; round++) {
    const both = [async () => ours.push(await run(flagged, request)), async () => theirs.push(await run(plain, request))]
    if (round % 2 === 1) both.reverse()
    for (const one of both) await one()
  }
  const time = (rounds: Round[]) => median(rounds.map(({ rate }) => 1e6 / rate))
  const cpu = (rounds: Round[]) => median(rounds.map(({ cpu }) => cpu))
  const ratio = median(ours.map(({ rate }, index) => theirs[index]!.rate / rate))
  return [
    { ...row(name, time(ours), time(theirs), most, 'µs'), ratio, ok: ratio <= most },
    row(`${name}, CPU`, cpu(ours), cpu(theirs), most, 'µs')
  ]
}
