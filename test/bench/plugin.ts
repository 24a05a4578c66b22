import { fileURLToPath } from 'node:url'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import flags from '../../src/index.js'
import { median, run, type Round } from './load.js'

/* Five evaluations in a handler, the context from headers, against the same app without flags. Rounds alternate; the medians count. */

const rounds = 15

export interface PluginResult { name: string, ratio: number, atLeast: number, detail: string }

const headers = {
  'the three headers': 'X-User-Id: user-123456\r\nX-User-Groups: beta,employees\r\nX-Region: eu\r\n',
  'eight more headers': 'X-User-Id: user-123456\r\nX-User-Groups: beta,employees\r\nX-Region: eu\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nCookie: session=0123456789abcdef\r\nReferer: http://localhost/\r\nCache-Control: no-cache\r\nOrigin: http://localhost\r\n'
}

export async function benchPlugin (): Promise<PluginResult[]> {
  const [flagged, plain] = [await withFlags(), withoutFlags()]
  for (const app of [flagged, plain]) await app.listen({ port: 0, host: '127.0.0.1' })
  const results: PluginResult[] = []
  for (const [what, lines] of Object.entries(headers)) {
    results.push(await compare(`five evaluations, ${what}`, flagged, plain, `GET / HTTP/1.1\r\nHost: localhost\r\n${lines}\r\n`))
  }
  results.push(await compare('a route that reads no flag', flagged, plain, 'GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n'))
  await flagged.close()
  await plain.close()
  return results
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

async function compare (name: string, flagged: FastifyInstance, plain: FastifyInstance, request: string): Promise<PluginResult> {
  const [ours, theirs]: [Round[], Round[]] = [[], []]
  for (let round = 0; round < rounds; round++) {
    const both = [async () => ours.push(await run(flagged, request)), async () => theirs.push(await run(plain, request))]
    if (round % 2 === 1) both.reverse()
    for (const one of both) await one()
  }
  const of = (rounds: Round[], what: keyof Round) => median(rounds.map((round) => round[what]))
  return {
    name,
    ratio: median(ours.map(({ rate }, index) => rate / theirs[index]!.rate)),
    atLeast: 0.95,
    detail: `${Math.round(of(ours, 'rate'))} of ${Math.round(of(theirs, 'rate'))} req/s; ${of(ours, 'cpu').toFixed(2)} and ${of(theirs, 'cpu').toFixed(2)} µs CPU a request`
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { name, ratio, atLeast, detail } of await benchPlugin()) console.log(`${name}: ${(ratio * 100).toFixed(1)} % of the app without flags (at least ${atLeast * 100} %); ${detail}`)
}
