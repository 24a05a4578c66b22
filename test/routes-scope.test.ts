import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { createGunzip, gzipSync } from 'node:zlib'
import Fastify, { type FastifyInstance, type FastifyPluginAsync, type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import Type from 'typebox'
import { errors } from '../src/errors.js'
import { openScope, type ScopeOptions } from '../src/routes/scope.js'

const oddity: unknown = 'not an error'

const group: FastifyPluginAsync<ScopeOptions> = async (app, options) => {
  const scope = openScope(app, { ...options, keyed: ['/things'] })
  scope.post('/things/:key', { schema: { body: Type.Object({ percentage: Type.Number(), users: Type.Optional(Type.Array(Type.String())) }, { additionalProperties: false }) } }, async (request) => ({ body: request.body }))
  scope.put('/things/:key', async (request) => ({ body: request.body ?? 'none' }))
  scope.patch('/things/:key', async (request) => ({ body: request.body }))
  scope.get('/things/:key', async (request) => ({ key: (request.params as { key: string }).key }))
  scope.get('/fails', async () => { throw new Error('secret internals') })
  scope.get('/fails/early', () => { throw new errors.FLAG_NOT_FOUND('x') })
  scope.get('/fails/odd', async () => { throw oddity })
  scope.delete('/things/:key', async (request, reply) => reply.code(204).send())
}

/** A host that does to its own routes all that a host may. */
async function hostile (t: Test, options: FastifyServerOptions = {}): Promise<{ app: FastifyInstance, lines: string[] }> {
  const lines: string[] = []
  const app: FastifyInstance = Fastify({
    logger: { level: 'info', stream: { write: (line: string) => { lines.push(line) } } },
    ajv: { customOptions: { coerceTypes: 'array', removeAdditional: 'all', useDefaults: true, allErrors: false } },
    routerOptions: { querystringParser: () => ({ hijacked: 'yes' }) },
    bodyLimit: 10,
    ...options
  })
  t.teardown(() => app.close())
  app.setErrorHandler((_, request, reply) => reply.code(418).send({ teapot: true }))
  app.setNotFoundHandler((request, reply) => reply.code(404).send('the host\'s own'))
  app.setValidatorCompiler(() => () => ({ value: { replaced: true } }))
  app.setSerializerCompiler(() => () => '"replaced"')
  app.setReplySerializer(() => '"replaced"')
  app.setSchemaErrorFormatter(() => new Error('replaced'))
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (request, payload, done) => { payload.resume(); done(null, { replaced: true }) })
  app.addHook('preSerialization', async () => ({ replaced: true }))
  await app.register(group, { prefix: '/ours' })
  app.post('/theirs', async () => { throw new Error('theirs') })
  await app.ready()
  return { app, lines }
}

t.test('a host\'s compilers, parsers, serializers, hooks and limits leave our requests and answers alone', async (t) => {
  const { app } = await hostile(t)
  const send = async (body: unknown) => await app.inject({ method: 'POST', url: '/ours/things/a', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  const right = await send({ percentage: 12, users: ['a-user-with-a-long-name'] })
  t.equal(right.statusCode, 200)
  t.equal(right.headers['content-type'], 'application/json; charset=utf-8')
  t.same(right.json(), { body: { percentage: 12, users: ['a-user-with-a-long-name'] } })
  for (const wrong of [{ percentage: null }, { percentage: '12' }, { percentage: 12, users: 'u1' }, { percentage: 12, more: 1 }, {}, null, 'text', []]) {
    const answer = await send(wrong)
    t.equal(answer.statusCode, 400, JSON.stringify(wrong))
    t.match(answer.json(), { statusCode: 400, code: 'FST_FLAGS_INVALID_REQUEST', error: 'Bad Request', details: [{ path: String, message: String }] })
  }
  t.equal((await app.inject({ method: 'POST', url: '/theirs', body: '' })).statusCode, 418, 'and theirs are theirs')
})

t.test('every error of ours has our shape, and an unforeseen one tells nothing of the inside', async (t) => {
  const { app, lines } = await hostile(t)
  const internal = { statusCode: 500, code: 'FST_FLAGS_INTERNAL', error: 'Internal Server Error', message: 'Something went wrong here; the log of this server says what' }
  t.same((await app.inject('/ours/fails')).json(), internal)
  t.same((await app.inject('/ours/fails/odd')).json(), internal)
  t.ok(lines.some((line) => line.includes('secret internals')))
  t.match((await app.inject('/ours/fails/early')).json(), { statusCode: 404, code: 'FST_FLAGS_FLAG_NOT_FOUND', message: 'There is no flag x' })
})

t.test('an error is kept by no cache, unless the host says otherwise', async (t) => {
  const { app } = await hostile(t)
  for (const url of ['/ours/fails', '/ours/fails/early', '/ours/nothing']) t.match((await app.inject(url)).headers, { 'cache-control': 'no-store' }, url)
  const other = Fastify()
  t.teardown(() => other.close())
  other.addHook('onRequest', async (_, reply) => { reply.header('cache-control', 'private') })
  await other.register(group)
  t.match((await other.inject('/fails/early')).headers, { 'cache-control': 'private' })
})

t.test('bodies that are not JSON, not UTF-8, of another type or too large are told so', async (t) => {
  const { app } = await hostile(t)
  const put = async (body: string | Buffer | undefined, type: string | undefined = 'application/json', method: 'PUT' | 'PATCH' = 'PUT') =>
    await app.inject({ method, url: '/ours/things/a', headers: type === '' ? {} : { 'content-type': type }, body })
  const expect = async (answer: ReturnType<typeof put>, statusCode: number, code: string) => t.match((await answer).json(), { statusCode, code })
  await expect(put('{"a":'), 400, 'FST_FLAGS_INVALID_JSON')
  await expect(put(Buffer.from([0x22, 0xff, 0x22])), 400, 'FST_FLAGS_INVALID_JSON')
  await expect(put('a: 1', 'text/yaml'), 415, 'FST_FLAGS_UNSUPPORTED_MEDIA_TYPE')
  await expect(put('{}', 'nonsense'), 415, 'FST_FLAGS_UNSUPPORTED_MEDIA_TYPE')
  await expect(put('{}', ''), 415, 'FST_FLAGS_UNSUPPORTED_MEDIA_TYPE')
  await expect(put('{}', 'application/merge-patch+json'), 415, 'FST_FLAGS_UNSUPPORTED_MEDIA_TYPE')
  await expect(put(`"${'x'.repeat(1_200_000)}"`), 413, 'FST_FLAGS_BODY_TOO_LARGE')
  t.same((await put('{}', 'application/merge-patch+json', 'PATCH')).json(), { body: {} })
  t.same((await put('\ufeff{}', 'application/json; charset=utf-8')).json(), { body: {} }, 'a byte order mark is none of the document')
  t.same((await put('')).json(), { body: 'none' }, 'an empty body is no body')
})

t.test('a body is read whole however it comes: with its head, in pieces, without a length, behind another, past a host\'s hook that reads it too', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const ends: string[] = []
  const heard: string[] = []
  app.addHook('onRequest', async ({ raw }) => { for (const event of ['end', 'close']) raw.on(event, () => { ends.push(event) }) })
  app.addHook('preParsing', async ({ headers }, _, payload) => {
    if (headers['x-listen'] !== undefined) payload.on('data', (bytes: Buffer) => { heard.push(String(bytes)) })
    if (headers['x-decode'] !== undefined) (payload as Readable).setEncoding('utf8')
    return headers['x-gzip'] === undefined ? payload : payload.pipe(createGunzip())
  })
  await app.register(group)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const send = async (bodies: number, ...pieces: Array<string | Buffer>) => {
    const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1').setNoDelay()
    let answer = ''
    socket.on('data', (data) => { answer += String(data) })
    for (const piece of pieces) {
      socket.write(piece)
      await sleep(5)
    }
    while (answer.split('{"body":').length <= bodies) await once(socket, 'data')
    socket.end()
    await once(socket, 'close')
    return answer.match(/\{"body":.*?\}\}/g)
  }
  const head = (length: number | undefined, lines = '') => `PUT /things/a HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${lines}${length === undefined ? 'Transfer-Encoding: chunked' : `Content-Length: ${length}`}\r\n\r\n`
  const body = '{"name":"Zoë"}'
  const answer = `{"body":${body}}`
  const length = Buffer.byteLength(body)
  t.same(await send(1, head(length) + body), [answer])
  t.same(ends.splice(0), ['end', 'close'], 'others hear of its end as ever')
  t.same(await send(1, head(length), body), [answer])
  t.same(await send(1, head(length) + body.slice(0, 4), body.slice(4, 9), body.slice(9)), [answer])
  t.same(await send(1, `${head(undefined)}4\r\n${body.slice(0, 4)}\r\n${(length - 4).toString(16)}\r\n${body.slice(4)}\r\n0\r\n\r\n`), [answer])
  t.same(await send(3, (head(length) + body).repeat(3)), [answer, answer, answer])
  const long = `{"name":"${'x'.repeat(300_000)}"}`
  t.same(await send(1, head(long.length) + long), [`{"body":${long}}`])
  t.same(await send(1, head(length, 'X-Listen: yes\r\n') + body), [answer])
  t.same(heard, [body])
  const plain = '{"name":"Zoe"}' // as long in characters as in bytes
  t.same(await send(1, head(plain.length, 'X-Decode: yes\r\n') + plain), [`{"body":${plain}}`], 'nor does a hook harm that asks for text')
  const zipped = gzipSync(body)
  t.same(await send(1, Buffer.concat([Buffer.from(head(undefined, 'X-Gzip: yes\r\n') + `${zipped.length.toString(16)}\r\n`), zipped, Buffer.from('\r\n0\r\n\r\n')])), [answer])
  const short = await app.inject({ method: 'PUT', url: '/things/a', headers: { 'content-type': 'application/json', 'content-length': '3' }, body })
  t.match(short.json(), { statusCode: 400, code: 'FST_ERR_CTP_INVALID_CONTENT_LENGTH' })
})

t.test('what is below our prefix and not there is our 404; elsewhere the host\'s', async (t) => {
  const { app } = await hostile(t)
  for (const [method, url] of [['GET', '/ours/nothing?user=mallory'], ['POST', '/ours'], ['DELETE', '/ours/things/a/b']] as const) {
    const answer = await app.inject({ method, url })
    t.match(answer.json(), { statusCode: 404, code: 'FST_FLAGS_ROUTE_NOT_FOUND', message: `There is no route ${method} ${url.split('?')[0]}` })
  }
  t.equal((await app.inject('/nothing')).body, 'the host\'s own')
  t.equal((await app.inject({ method: 'HEAD', url: '/ours/nothing' })).body, '')
})

t.test('a key too long for the router is refused in our words', async (t) => {
  const { app } = await hostile(t)
  t.same((await app.inject(`/ours/things/${'k'.repeat(100)}`)).json(), { key: 'k'.repeat(100) })
  t.same((await app.inject('/ours/things/a%2Fb')).json(), { key: 'a/b' })
  for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS'] as const) {
    const answer = await app.inject({ method, url: `/ours/things/${'k'.repeat(101)}` })
    t.match(answer.json(), { statusCode: 400, code: 'FST_FLAGS_INVALID_REQUEST' }, method)
  }
})

t.test('the query is never logged, not by a 404 either', async (t) => {
  const { app, lines } = await hostile(t)
  for (const url of ['/ours/things/a', '/ours/nothing', '/ours/fails']) await app.inject(`${url}?user=mallory`)
  t.ok(lines.some((line) => line.includes('/ours/things/a')))
  t.notOk(lines.some((line) => line.includes('mallory')))
})

t.test('a 204 has no body, and route groups may share a prefix', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(group, { prefix: '/ours' })
  await app.register(async (scope) => { openScope(scope, { prefix: '/ours', keyed: ['/things'] }).get('/other', async () => [1]) }, { prefix: '/ours' })
  await app.register(async (scope) => { openScope(scope).get('/bare', async () => null) })
  t.same((await app.inject({ method: 'DELETE', url: '/ours/things/a' })).body, '')
  t.same((await app.inject('/ours/other')).json(), [1])
  t.same((await app.inject('/bare')).body, 'null')
  t.match((await app.inject('/elsewhere')).json(), { message: 'Route GET:/elsewhere not found' }, 'without a prefix of its own a scope leaves the host its 404')
})
