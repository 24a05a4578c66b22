import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import flags from '../../src/index.js'
import { run, runAt, someUser, type Round } from './load.js'
import { median, row, type Row } from './measure.js'

/*
 * Five evaluations in a handler, the context from headers, against the same app without flags: the time a request takes at
 * 50 connections, and the server's CPU time for it, which other processes disturb less. Rounds alternate; the medians count.
 */

const rounds = 15
const target = 1 / 0.95 // at least 95 % of the requests per second
const countedTarget = 1 / 0.97
const starts = 4
const roundsOfStart = 12
const warmRounds = 2

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
  return [...rows, ...await counting('five flags, two on trial and one guarded', 'some'), ...await counting('five flags, all on trial and guarded', 'all')]
}

/**
 * What it costs that experiments count what is read, and guards watch how the requests end; against the same flags without. Both
 * apps are in one process, started several times: how V8 happens to compile Node's own parts makes ten times as much of a difference.
 * In one start of nine V8 takes objects of requests for some that live long (in the one looked into, process.nextTick's arguments),
 * and keeps what belongs to them: it is told not to learn such things.
 */
async function counting (name: string, which: 'some' | 'all'): Promise<Row[]> {
  const all: [counted: Round[], uncounted: Round[]] = [[], []]
  for (let start = 0; start < starts; start++) {
    const child = fork(fileURLToPath(new URL('counting-process.js', import.meta.url)), [which, start % 2 === 0 ? 'first' : 'later'], { execArgv: ['--no-allocation-site-pretenuring'] })
    const answer = async () => (await once(child, 'message'))[0]
    const cpuUsage = async () => {
      child.send('cpu')
      return await answer() as NodeJS.CpuUsage
    }
    const request = `GET / HTTP/1.1\r\nHost: localhost\r\nX-User-Id: user-${someUser}\r\n\r\n`
    const [counted, uncounted] = (await answer() as string[]).map((address) => () => runAt(Number(new URL(address).port), cpuUsage, request))
    await alternate(warmRounds, counted!, uncounted!)
    const [ours, theirs] = await alternate(roundsOfStart, counted!, uncounted!)
    all[0].push(...ours)
    all[1].push(...theirs)
    child.disconnect()
    await once(child, 'exit')
  }
  return rowsOf(name, ...all, countedTarget)
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

async function compare (name: string, flagged: FastifyInstance, plain: FastifyInstance, request: string): Promise<Row[]> {
  const [ours, theirs] = await alternate(rounds, () => run(flagged, request), () => run(plain, request))
  return rowsOf(name, ours, theirs, target)
}

async function alternate (rounds: number, ours: () => Promise<Round>, theirs: () => Promise<Round>): Promise<[ours: Round[], theirs: Round[]]> {
  const all: [Round[], Round[]] = [[], []]
  for (let round = 0; round < rounds; round++) {
    const both = [async () => all[0].push(await ours()), async () => all[1].push(await theirs())]
    if (round % 2 === 1) both.reverse()
    for (const one of both) await one()
  }
  return all
}

/** Compares requests per second, and CPU time: the median of what rounds that ran in turn differ by. These stand at the same place. */
function rowsOf (name: string, ours: Round[], theirs: Round[], most: number): Row[] {
  const rowOf = (name: string, micros: (round: Round) => number): Row => {
    const ratio = median(ours.map((round, index) => micros(round) / micros(theirs[index]!)))
    return { ...row(name, median(ours.map(micros)), median(theirs.map(micros)), most, 'µs'), ratio, ok: ratio <= most }
  }
  return [rowOf(name, ({ rate }) => 1e6 / rate), rowOf(`${name}, CPU`, ({ cpu }) => cpu)]
}
