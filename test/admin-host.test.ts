import swagger from '@fastify/swagger'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import flags from '../src/index.js'
import { adminRoutes } from '../src/routes/admin.js'
import { alice, startAdmin, viewer } from './helpers/admin.js'

/** A host that does to its routes all that a host may. */
function prepare (app: FastifyInstance): void {
  app.setErrorHandler((_, request, reply) => reply.code(418).send({ teapot: true }))
  app.setNotFoundHandler((request, reply) => reply.code(404).send('the host\'s'))
  app.setValidatorCompiler(() => () => ({ value: { enabled: true } }))
  app.setSerializerCompiler(() => () => '"replaced"')
  app.setReplySerializer(() => '"replaced"')
  app.setSchemaErrorFormatter(() => new Error('replaced'))
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (request, payload, done) => { payload.resume(); done(null, { enabled: true }) })
  app.addHook('preSerialization', async () => ({ replaced: true }))
}

const server = {
  ajv: { customOptions: { coerceTypes: 'array' as const, removeAdditional: 'all' as const, useDefaults: true, allErrors: false } },
  routerOptions: { querystringParser: () => ({ limit: '1', dryRun: 'true' }) },
  bodyLimit: 10
}

t.test('a hostile host changes no document and no answer', async (t) => {
  const { ask } = await startAdmin(t, { server, prepare })
  for (const [body, path] of [
    [{ serve: { percentage: null } }, '/serve/percentage'], [{ enabled: 'true' }, '/enabled'], [{ targets: [{ users: 'u1' }], serve: 'off' }, '/targets/0/users'], [{ surplus: 1 }, '/surplus']
  ] as const) {
    t.match(await ask('PUT', '/flags/a', { body }), { status: 400, body: { statusCode: 400, code: 'FST_FLAGS_INVALID_DOCUMENT', error: 'Bad Request', details: [{ path }] } }, path)
  }
  const flag = { enabled: true, variants: { a: { nested: [1, null] }, b: {} }, offVariant: 'a', serve: 'b', description: 'longer than ten bytes' }
  t.match(await ask('PUT', '/flags/a', { body: flag }), { status: 201, body: { ...flag, version: 1 } })
  t.match(await ask('GET', '/flags/a'), { status: 200, body: flag })
  await ask('PUT', '/flags/b', { body: {} })
  t.equal((await ask('GET', '/flags')).body.flags.length, 2, 'the query is read as it was sent')
  t.match(await ask('POST', '/flags/a/disable', { body: {} }), { status: 200, body: { enabled: false } })
  t.match(await ask('POST', '/flags/a/targets', { body: { add: { users: 'u1' } } }), { status: 400, body: { details: [{ path: '/add/users' }] } })
  t.match(await ask('GET', '/flags/none'), { status: 404, body: { code: 'FST_FLAGS_FLAG_NOT_FOUND' } })
  t.match(await ask('GET', '/none'), { status: 404, body: { code: 'FST_FLAGS_ROUTE_NOT_FOUND' } })
  for (const [path, allow] of [['/flags', 'GET, HEAD'], ['/flags/new', 'DELETE, GET, HEAD, PATCH, PUT']] as const) {
    t.match(await ask('POST', path), { status: 405, headers: { allow }, body: { code: 'FST_FLAGS_METHOD_NOT_ALLOWED' } })
    t.match(await ask('OPTIONS', path), { status: 204, headers: { allow }, text: '' })
  }
  t.same(Object.keys((await ask('GET', '/export')).body.flags), ['a', 'b'])
})

t.test('neither tokens nor queries are logged, whatever goes wrong', async (t) => {
  const lines: string[] = []
  const { ask } = await startAdmin(t, { server: { logger: { level: 'trace', stream: { write: (line: string) => { lines.push(line) } } } } })
  await ask('PUT', '/flags/a', { body: {} })
  await ask('GET', '/flags?q=mallory')
  await ask('GET', '/none?q=mallory')
  await ask('GET', '/flags?q=mallory&limit=0')
  await ask('GET', '/flags?q=mallory', { token: 'wrong-mallory-0123456789' })
  await ask('PUT', '/flags/a', { body: {}, token: viewer })
  t.ok(lines.some((line) => line.includes('/admin/flags')))
  for (const secret of [alice, viewer, 'mallory']) t.notOk(lines.some((line) => line.includes(secret)), secret)
})

t.test('the routes stand in the host\'s OpenAPI only if asked', async (t) => {
  for (const openapi of [undefined, true]) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(swagger, { openapi: { info: { title: 'x', version: '1' } } })
    await app.register(flags, { store: 'memory', evaluation: { prefix: '/feature', openapi } })
    await app.register(adminRoutes, { prefix: '/admin', tokens: { alice }, openapi })
    app.get('/own', { schema: { description: 'x' } }, async () => 'x')
    await app.ready()
    const { paths } = app.swagger() as { paths: Record<string, { get?: object }> }
    t.ok('/own' in paths)
    t.equal('/admin/flags/{key}' in paths, openapi === true)
    for (const prefix of ['/admin/', '/feature/flags', '/feature/ofrep/']) t.equal(Object.keys(paths).some((path) => path.startsWith(prefix)), openapi === true, prefix)
    if (openapi) t.match(paths['/feature/flags']?.get, { summary: 'Evaluate all flags', tags: ['Evaluation'] })
    t.notOk(Object.keys(paths).some((path) => path.includes('*')))
  }
})

t.test('lists, exports and imports travel over HTTP as over code', async (t) => {
  const { ask, admin } = await startAdmin(t)
  for (const key of ['c', 'a', 'b']) await ask('PUT', `/flags/${key}`, { body: { tags: [key], owner: 'x' } })
  const page = await ask('GET', '/flags?limit=2&owner=x')
  t.match(page.body, { flags: [{ key: 'a' }, { key: 'b' }], next: 'b' })
  t.same((await ask('GET', '/flags?limit=2&after=b')).body.flags.map(({ key }: { key: string }) => key), ['c'])
  t.notOk('next' in (await ask('GET', '/flags?tag=c')).body)

  const exported = await ask('GET', '/export')
  t.match(exported.headers['content-type'], /^application\/json/)
  t.same(exported.body, await admin.export())
  const { flags: changed } = exported.body
  changed.a.enabled = true
  changed.d = {}
  const dry = await ask('POST', '/import?dryRun=true', { body: exported.body })
  t.match(dry, { status: 200, body: { dryRun: true, flags: [{ key: 'a', action: 'replace' }, { key: 'b', action: 'none' }, { key: 'c', action: 'none' }, { key: 'd', action: 'create' }], segments: [] } })
  t.equal((await ask('GET', '/flags/d')).status, 404)
  t.match(await ask('POST', '/import', { body: exported.body }), { status: 200, body: { dryRun: false, flags: [{ key: 'a', version: 4 }] } })
  t.match((await ask('GET', '/flags/d')).body, { updatedBy: 'alice' })
  t.match(await ask('POST', '/import', { body: { flags: { e: {}, f: { enabled: 1 } } } }), { status: 400, body: { code: 'FST_FLAGS_INVALID_DOCUMENT', details: [{ path: '/flags/f/enabled' }] } })
  t.equal((await ask('GET', '/flags/e')).status, 404, 'never half applied')
  for (const body of [null, [], 'x']) t.equal((await ask('POST', '/import', { body })).status, 400)
  t.equal((await ask('POST', '/import')).status, 400)
  const large = { flags: Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`large-${i}`, { description: 'x'.repeat(9000) }])) }
  t.equal((await ask('POST', '/import', { body: large })).status, 200, 'an import may be larger than a document')
})
