import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import flags, { type FlagsOptions } from '../../src/index.js'

/** An app that tells who it thinks is asking, on a real port. */
async function start (t: Test, options: FlagsOptions, server: { trustProxy?: boolean } = {}) {
  const app = Fastify(server)
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory', headers: { plan: 'x-plan' }, evaluation: { prefix: '/ours' }, ...options })
  await app.flags.admin.put('mine', { enabled: true, serve: 'off', targets: [{ users: ['mallory'], groups: ['staff'], regions: ['eu'] }], rules: [{ when: { attribute: 'plan', operator: 'exists' }, serve: 'on' }] })
  app.get('/', async (request) => ({ context: request.flags.context, on: request.flags.isEnabled('mine') }))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo

  /** Sends header lines exactly as they are, from an address of this machine. */
  return async (lines: string[], from = '127.0.0.1', path = '/'): Promise<any> => {
    const said = await new Promise<string>((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', localAddress: from })
      let said = ''
      socket.setEncoding('utf8').on('data', (data) => { said += data }).on('error', reject).on('close', () => resolve(said))
      socket.write(Buffer.from(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`, 'latin1'))
    })
    return JSON.parse(said.slice(said.indexOf('\r\n\r\n') + 4))
  }
}

const identity = ['X-User-Id: mallory', 'X-User-Groups: staff', 'X-Region: eu', 'X-Plan: pro']
const nobody = { context: {}, on: false }

/** Header lines that a client sends to be taken for somebody, or for somebody's neighbour. */
const disguises: string[][] = [
  [], ['X-Forwarded-For: 127.0.0.9'], ['X-Real-IP: 127.0.0.9'], ['Forwarded: for=127.0.0.9'], ['Host: 127.0.0.9'], ['Client-IP: 127.0.0.9'], ['X-Client-IP: 127.0.0.9'],
  ['X-Remote-Addr: 127.0.0.9'], ['True-Client-IP: 127.0.0.9'], ['CF-Connecting-IP: 127.0.0.9'], ['Via: 1.1 trusted'], ['X-Forwarded-Host: localhost'], ['Origin: http://localhost']
]

t.test('row 17: identity headers of a peer that is not trusted are used 0 times', async (t) => {
  for (const server of [{}, { trustProxy: true }]) {
    const ask = await start(t, { trust: ['127.0.0.9/32'] }, server)
    t.match(await ask(identity, '127.0.0.9'), { context: { targetingKey: 'mallory' }, on: true }, 'those of the one that is do count')
    for (const disguise of disguises) {
      if (disguise[0]?.startsWith('Host')) continue // a second Host is no HTTP
      t.same(await ask([...disguise, ...identity], '127.0.0.1'), nobody, disguise.join())
      t.same(await ask([...identity, ...disguise], '127.0.0.10'), nobody, disguise.join())
    }
    t.match(await ask(identity, '127.0.0.8', '/ours/flags/mine/evaluate'), { enabled: false })
    t.match(await ask([], '127.0.0.8', '/ours/flags/mine/evaluate?user=mallory'), { statusCode: 403 }, 'nor does the query')
  }
  const none = await start(t, { trust: false })
  t.same(await none(identity), nobody)
})

t.test('row 17: what a proxy has marked is used 0 times, however it is written', async (t) => {
  const ask = await start(t, {})
  t.match(await ask(identity), { context: { targetingKey: 'mallory', plan: 'pro' }, on: true }, 'unmarked, from this machine, they count')
  for (const mark of ['Forwarded: for=1.2.3.4', 'FORWARDED:', 'Via: 1.1 nginx', 'via:', 'X-Real-IP: 1.2.3.4', 'X-Forwarded-For: 1.2.3.4', 'x-forwarded-for:', 'X-Forwarded-Proto: https', 'X-Forwarded-Host: a', 'X-Forwarded-Port: 1', 'X-Forwarded-Client-Cert: a', 'X-FORWARDED-USER: alice']) {
    t.same(await ask([mark, ...identity]), nobody, mark)
    t.same(await ask([...identity, mark]), nobody, mark)
  }
})

t.test('row 17: an identity header that is repeated or oversized is used 0 times', async (t) => {
  const ask = await start(t, {})
  const names = ['X-User-Id', 'X-User-Groups', 'X-Region', 'X-Plan']
  const field: Record<string, string> = { 'X-User-Id': 'targetingKey', 'X-User-Groups': 'groups', 'X-Region': 'region', 'X-Plan': 'plan' }
  for (const name of names) {
    const repeated = [
      [`${name}: alice`, `${name}: mallory`], [`${name}: mallory`, `${name}: mallory`], [`${name}: mallory`, `${name.toLowerCase()}: alice`], [`${name}: mallory`, 'X-Other: x', `${name.toUpperCase()}:`],
      [`${name}:`, `${name}: mallory`], [`${name}: mallory, alice`, `${name}: staff`]
    ]
    for (const lines of repeated) t.notOk(field[name]! in (await ask(lines)).context, lines.join())
    t.notOk(field[name]! in (await ask([`${name}: ${'m'.repeat(1025)}`])).context, `${name} of 1,025 bytes`)
    t.notOk(field[name]! in (await ask([`${name}: ${'é'.repeat(600)}`].map((line) => Buffer.from(line).toString('latin1')))).context, `${name} of 600 characters in 1,200 bytes`)
    t.ok(field[name]! in (await ask([`${name}: ${'m'.repeat(1024)}`])).context, `${name} of 1,024 bytes counts`)
  }
  t.match(await ask(['X-User-Id: alice', 'X-User-Groups: staff', 'X-User-Groups: beta']), { context: { targetingKey: 'alice', groups: undefined }, on: false }, 'the others still count')
})
