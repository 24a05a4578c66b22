import Fastify from 'fastify'
import t from 'tap'
import flags from '../src/index.js'
import { adminRoutes, type AdminOptions } from '../src/routes/admin.js'
import { alice, bob, startAdmin, viewer } from './helpers/admin.js'

t.test('a flag is created, read, replaced and deleted, each answer with its version as ETag', async (t) => {
  const { ask } = await startAdmin(t)
  const created = await ask('PUT', '/flags/checkout', { body: { enabled: true, description: 'The new one' } })
  t.match(created, { status: 201, headers: { etag: '"1"', location: '/admin/flags/checkout' }, body: { key: 'checkout', enabled: true, description: 'The new one', version: 1, updatedBy: 'alice' } })
  t.ok(Math.abs(Date.parse(created.body.createdAt) - Date.parse(created.body.updatedAt)) < 1000)

  const read = await ask('GET', '/flags/checkout')
  t.same(read.body, created.body, 'what is read is what the write answered')
  t.equal(read.headers.etag, '"1"')
  t.equal((await ask('GET', '/flags/checkout', { headers: { 'if-none-match': '"7", W/"1"' } })).status, 304)
  t.match(await ask('HEAD', '/flags/checkout'), { status: 200, text: '', headers: { etag: '"1"' } })

  const replaced = await ask('PUT', '/flags/checkout', { body: { enabled: false }, headers: { 'if-match': '"1"' }, token: bob })
  t.match(replaced, { status: 200, headers: { etag: '"2"' }, body: { enabled: false, version: 2, updatedBy: 'bob' } })
  t.equal(replaced.body.createdAt, created.body.createdAt)
  t.notOk('description' in replaced.body, 'PUT replaces the whole')

  t.match(await ask('DELETE', '/flags/checkout', { headers: { 'if-match': '"2"' } }), { status: 204, text: '' })
  t.match(await ask('DELETE', '/flags/checkout', { headers: { 'if-match': '"2"' } }), { status: 404, body: { code: 'FST_FLAGS_FLAG_NOT_FOUND' } })
  t.equal((await ask('GET', '/flags/checkout')).status, 404)
})

t.test('what was read can be sent back as it is, and then carries its precondition itself', async (t) => {
  const { ask } = await startAdmin(t)
  const { body } = await ask('PUT', '/flags/a', { body: { enabled: true } })
  t.match(await ask('PUT', '/flags/a', { body: { ...body, enabled: false } }), { status: 200, body: { version: 2, enabled: false } })
  t.match(await ask('PUT', '/flags/a', { body: { ...body, enabled: true } }), { status: 412, body: { code: 'FST_FLAGS_VERSION_CONFLICT' } })
  t.match(await ask('PUT', '/flags/a', { body: { ...body, key: 'b' }, headers: { 'if-match': '*' } }), { status: 400, body: { details: [{ path: '/key' }] } })
})

t.test('replacing and deleting without saying which version is refused, and told how', async (t) => {
  const { ask } = await startAdmin(t)
  await ask('PUT', '/flags/a', { body: { enabled: true } })
  for (const method of ['PUT', 'DELETE'] as const) {
    const answer = await ask(method, '/flags/a', method === 'PUT' ? { body: { enabled: false } } : {})
    t.match(answer, { status: 428, body: { statusCode: 428, code: 'FST_FLAGS_VERSION_REQUIRED', error: 'Precondition Required', message: /If-Match: \*/ } }, method)
  }
  t.match(await ask('PUT', '/flags/a', { body: { enabled: false }, headers: { 'if-match': '*' } }), { status: 200, body: { version: 2 } })
  t.match(await ask('DELETE', '/flags/a', { body: { version: 2 } }), { status: 204 }, 'a version in the body says it too')
  t.match(await ask('DELETE', '/flags/a'), { status: 404 })
})

t.test('If-Match that is stale, weak, foreign, malformed, contradicted or of nothing is refused', async (t) => {
  const { ask } = await startAdmin(t)
  await ask('PUT', '/flags/a', { body: { enabled: true } })
  const put = async (ifMatch: string, body = { enabled: false } as object) => await ask('PUT', '/flags/a', { body, headers: { 'if-match': ifMatch } })
  for (const stale of ['"7"', 'W/"1"', '"abc"', '""', '"01"', '"7", W/"1"', '"1.0"']) {
    t.match(await put(stale), { status: 412, body: { code: 'FST_FLAGS_VERSION_CONFLICT', message: /is now at version 1/ } }, stale)
  }
  for (const malformed of ['1', '"1', '1"', '"1" "2"', '"1",', '', 'W/1', 'w/"1"', '*, "1"', '"a b"']) {
    t.match(await put(malformed), { status: 400, body: { code: 'FST_FLAGS_INVALID_IF_MATCH' } }, JSON.stringify(malformed))
  }
  t.match(await put('"1"', { enabled: false, version: 3 }), { status: 400, body: { code: 'FST_FLAGS_INVALID_REQUEST' } })
  t.match(await ask('PUT', '/flags/none', { body: {}, headers: { 'if-match': '*' } }), { status: 412 })
  t.match(await ask('PUT', '/flags/none', { body: {}, headers: { 'if-match': '"1"' } }), { status: 412, body: { message: /there is none/ } })
  t.match(await put('"7" , "1"'), { status: 200 }, 'one of a list is enough')
})

t.test('If-None-Match: * creates and never replaces', async (t) => {
  const { ask } = await startAdmin(t)
  const put = async (value: string) => await ask('PUT', '/flags/a', { body: { enabled: true }, headers: { 'if-none-match': value } })
  t.equal((await put('*')).status, 201)
  t.equal((await put('*')).status, 412)
  t.equal((await put('"1"')).status, 400)
})

t.test('PATCH replaces whole each field it names, of the flag and of each environment, and null removes', async (t) => {
  const { ask } = await startAdmin(t)
  await ask('PUT', '/flags/a', {
    body: {
      owner: 'growth',
      tags: ['one', 'two'],
      environments: {
        staging: { enabled: true },
        production: { enabled: true, serve: { percentage: 10, seed: 'x' }, targets: [{ users: ['u1'] }] }
      }
    }
  })
  const patched = await ask('PATCH', '/flags/a', { body: { owner: null, tags: ['three'], environments: { production: { serve: { percentage: 25 }, targets: null }, qa: { enabled: true }, staging: null } } })
  t.equal(patched.status, 200)
  t.notOk('owner' in patched.body)
  t.match(patched.body, { tags: ['three'] })
  t.same(patched.body.environments, { production: { enabled: true, serve: { percentage: 25 } }, qa: { enabled: true } })

  const merge = await ask('PATCH', '/flags/a', { payload: '{"description":"x"}', headers: { 'content-type': 'application/merge-patch+json' } })
  t.match(merge, { status: 200, body: { description: 'x', tags: ['three'] } })
  t.same((await ask('PATCH', '/flags/a', { body: { environments: { qa: null, production: null } } })).body.environments, {}, 'without its last environment it is off, not on everywhere')
  t.match(await ask('PATCH', '/flags/a', { body: { enabled: 'yes' } }), { status: 400, body: { code: 'FST_FLAGS_INVALID_DOCUMENT', details: [{ path: '/enabled' }] } })
  t.match(await ask('PATCH', '/flags/a', { body: { environments: { qa: 5 } } }), { status: 400, body: { details: [{ path: '/environments/qa' }] } })
  for (const body of [[], 'text', 5, null]) t.match(await ask('PATCH', '/flags/a', { body }), { status: 400, body: { code: 'FST_FLAGS_INVALID_DOCUMENT' } })
  t.equal((await ask('PATCH', '/flags/a')).status, 400, 'no body')
  t.equal((await ask('PATCH', '/flags/none', { body: {} })).status, 404)
  t.equal((await ask('PATCH', '/flags/a', { body: { description: 'y' }, headers: { 'if-match': '"1"' } })).status, 412, 'a version is not needed, but heeded')
  t.equal((await ask('PATCH', '/flags/a', { body: { description: 'y', version: 1 } })).status, 412)
})

t.test('enable and disable switch a flag or one of its environments, which they create', async (t) => {
  const { ask } = await startAdmin(t)
  await ask('PUT', '/flags/a', { body: {} })
  t.match(await ask('POST', '/flags/a/enable'), { status: 200, body: { enabled: true, version: 2 } })
  t.match(await ask('POST', '/flags/a/enable'), { status: 200, body: { enabled: true, version: 2 } }, 'again changes nothing')
  t.match(await ask('POST', '/flags/a/disable', { payload: '' }), { status: 200, body: { enabled: false } }, 'an empty body is no body')

  await ask('PUT', '/flags/b', { body: { environments: { production: { enabled: false } } } })
  t.match(await ask('POST', '/flags/b/environments/production/enable', { body: {} }), { status: 200, body: { environments: { production: { enabled: true } } } })
  t.match(await ask('POST', '/flags/b/environments/staging/enable'), { status: 200, body: { environments: { production: { enabled: true }, staging: { enabled: true } } } })
  t.match(await ask('POST', '/flags/b/environments/qa/disable'), { status: 200, body: { environments: { qa: { enabled: false } } } })
  t.match(await ask('POST', '/flags/b/disable'), { status: 200, body: { enabled: false, environments: { production: { enabled: true } } } })

  t.equal((await ask('POST', '/flags/none/enable')).status, 404)
  t.match(await ask('POST', '/flags/b/environments/__proto__/enable'), { status: 400, body: { code: 'FST_FLAGS_INVALID_DOCUMENT' } })
  t.match(await ask('POST', '/flags/b/enable', { body: { environment: 'production' } }), { status: 400, body: { code: 'FST_FLAGS_INVALID_REQUEST', details: [{ path: '/environment', message: /not a field known here/ }] } })
  t.equal((await ask('POST', '/flags/b/enable', { headers: { 'if-match': '"1"' } })).status, 412)
})

t.test('one environment of a flag without environments: nothing else may change by it', async (t) => {
  const { ask } = await startAdmin(t)
  await ask('PUT', '/flags/plain', { body: { description: 'plain' } })
  const moved = await ask('POST', '/flags/plain/environments/production/enable')
  t.same(moved.body.environments, { production: { enabled: true } }, 'off everywhere before, off elsewhere after')
  t.notOk('enabled' in moved.body)

  await ask('PUT', '/flags/on', { body: { enabled: true } })
  t.match(await ask('POST', '/flags/on/environments/staging/enable'), { status: 200, body: { enabled: true, version: 3 } }, 'it is on there already')
  t.match(await ask('POST', '/flags/on/environments/staging/disable'), { status: 409, body: { code: 'FST_FLAGS_WRONG_ENVIRONMENT', message: /has no environments/ } })
  await ask('PUT', '/flags/partly', { body: { enabled: false, serve: { percentage: 5 } } })
  t.match(await ask('POST', '/flags/partly/environments/production/enable'), { status: 409 }, 'its share would be lost elsewhere')
})

t.test('targets are added and removed by name', async (t) => {
  const { ask } = await startAdmin(t)
  await ask('PUT', '/flags/a', { body: { enabled: true, serve: 'off' } })
  const targets = async (body: object, path = '/flags/a/targets') => await ask('POST', path, { body })
  t.same((await targets({ add: { users: ['u1', 'u2'], groups: ['beta'] } })).body.targets, [{ users: ['u1', 'u2'], groups: ['beta'] }])
  t.same((await targets({ add: { users: ['u2', 'u3'] }, remove: { users: ['u1'], groups: ['beta', 'unknown'] } })).body.targets, [{ users: ['u2', 'u3'], groups: [] }])
  t.same((await targets({ variant: 'off', add: { users: ['u3'] } })).body.targets, [{ users: ['u2'], groups: [] }, { variant: 'off', users: ['u3'] }], 'who is given another variant leaves the first')
  t.same((await targets({ remove: { users: ['u2', 'u3'] } })).body.targets, [])

  await ask('PUT', '/flags/b', { body: { variants: ['x', 'y'], environments: { production: { enabled: true, serve: 'x' } } } })
  t.match(await targets({ variant: 'y', add: { regions: ['eu'] } }, '/flags/b/environments/production/targets'), { status: 200, body: { environments: { production: { targets: [{ variant: 'y', regions: ['eu'] }] } } } })
  t.match(await targets({ add: { users: ['u'] } }, '/flags/b/environments/production/targets'), { status: 400, body: { message: /which one/ } })
  t.match(await targets({ variant: 'z', add: { users: ['u'] } }, '/flags/b/environments/production/targets'), { status: 400, body: { code: 'FST_FLAGS_INVALID_DOCUMENT' } })
  t.match(await targets({ variant: 'y', add: { users: ['u'] } }, '/flags/b/targets'), { status: 409, body: { code: 'FST_FLAGS_WRONG_ENVIRONMENT' } })
  t.match(await targets({ variant: 'y', add: { users: ['u'] } }, '/flags/b/environments/qa/targets'), { status: 409 })
  t.match(await targets({ add: { users: ['u'] } }, '/flags/a/environments/qa/targets'), { status: 409 })
  for (const body of [{}, { add: { users: 'u1' } }, { add: { user: ['u1'] } }, { add: { users: [1] } }, { adds: {} }, []]) t.equal((await targets(body)).status, 400, JSON.stringify(body))
})

t.test('what others need stays, and the refusal names them', async (t) => {
  const { ask } = await startAdmin(t)
  await ask('PUT', '/segments/inner', { body: { when: { attribute: 'country', operator: 'eq', value: 'de' } } })
  await ask('PUT', '/segments/outer', { body: { when: { segment: 'inner' } } })
  await ask('PUT', '/flags/base', { body: { enabled: true, variants: ['a', 'b'], serve: 'a' } })
  await ask('PUT', '/flags/top', { body: { enabled: true, serve: 'off', prerequisites: [{ flag: 'base', variant: 'b' }], rules: [{ when: { segment: 'outer' } }] } })
  const all = { headers: { 'if-match': '*' } }
  t.match(await ask('DELETE', '/flags/base', all), { status: 409, body: { code: 'FST_FLAGS_IN_USE', message: /Flag base is needed by flag top/ } })
  t.match(await ask('DELETE', '/segments/outer', all), { status: 409, body: { message: /Segment outer is needed by flag top/ } })
  t.match(await ask('DELETE', '/segments/inner', all), { status: 409, body: { message: /needed by segment outer/ } })
  t.match(await ask('PUT', '/flags/base', { ...all, body: { enabled: true, variants: ['a', 'c'], serve: 'a' } }), { status: 409, body: { message: /Variant b of flag base is needed by flag top/ } })
  t.match(await ask('PATCH', '/flags/base', { body: { variants: null, serve: null } }), { status: 409 }, 'nor may its variants go altogether')
  t.match(await ask('PUT', '/flags/base', { ...all, body: { enabled: true, variants: ['b', 'c'], serve: 'c' } }), { status: 200 }, 'what nobody asks for may go')
  t.equal((await ask('DELETE', '/flags/top', all)).status, 204)
  for (const path of ['/flags/base', '/segments/outer', '/segments/inner']) t.equal((await ask('DELETE', path, all)).status, 204, path)
})

t.test('segments have the same life as flags', async (t) => {
  const { ask } = await startAdmin(t)
  const when = { attribute: 'country', operator: 'in', value: ['de'] }
  t.match(await ask('PUT', '/segments/eu', { body: { when } }), { status: 201, headers: { etag: '"1"', location: '/admin/segments/eu' }, body: { key: 'eu', when, version: 1, updatedBy: 'alice' } })
  t.equal((await ask('PUT', '/segments/eu', { body: { when } })).status, 428)
  t.match(await ask('GET', '/segments'), { status: 200, body: { segments: [{ key: 'eu' }] } })
  t.match(await ask('PUT', '/segments/eu', { body: { when: { segment: 'eu' } }, headers: { 'if-match': '"1"' } }), { status: 400, body: { details: [{ path: String, message: String }] } })
  t.match(await ask('GET', '/segments/none'), { status: 404, body: { code: 'FST_FLAGS_SEGMENT_NOT_FOUND' } })
  t.equal((await ask('DELETE', '/segments/eu', { headers: { 'if-match': '"1"' } })).status, 204)
})

t.test('the history tells every version of a flag and who made it; the log all changes', async (t) => {
  const { ask } = await startAdmin(t)
  await ask('PUT', '/flags/a', { body: { enabled: true } })
  await ask('PUT', '/segments/s', { body: { when: { attribute: 'x', operator: 'exists' } } })
  await ask('PATCH', '/flags/a', { body: { description: 'x' }, token: bob })
  await ask('DELETE', '/flags/a', { headers: { 'if-match': '*' } })
  const { body } = await ask('GET', '/flags/a/history')
  t.match(body.history, [
    { version: 4, updatedBy: 'alice', flag: null },
    { version: 3, updatedBy: 'bob', flag: { enabled: true, description: 'x' } },
    { version: 1, updatedBy: 'alice', flag: { enabled: true } }
  ])
  t.same((await ask('GET', '/flags/a/history?limit=1')).body.next, 4)
  t.match((await ask('GET', '/flags/a/history?limit=1&before=4')).body, { history: [{ version: 3 }], next: 3 })
  t.equal((await ask('GET', '/flags/never/history')).status, 404)

  t.match((await ask('GET', '/changes')).body.changes, [{ version: 4, kind: 'flag', key: 'a', deleted: true, updatedBy: 'alice' }, { version: 3 }, { version: 2, kind: 'segment', key: 's' }, { version: 1, deleted: false }])
  t.match((await ask('GET', '/changes?after=1&limit=2')).body, { changes: [{ version: 2 }, { version: 3 }], next: 3 })
  t.match((await ask('GET', '/changes?after=4')).body, { changes: [], next: 4 }, 'whoever follows always has where to go on')
  t.match((await ask('GET', '/changes?limit=3')).body.next, 2)
  t.equal((await ask('GET', '/changes?after=1&before=2')).status, 400)
})

t.test('explain tells how a flag came to its answer, for a context in the body, to readers too', async (t) => {
  const { ask } = await startAdmin(t)
  await ask('PUT', '/flags/a', { body: { environments: { production: { enabled: true, serve: 'off', targets: [{ groups: ['beta'] }] } } } })
  const explain = async (body?: unknown, key = 'a') => await ask('POST', `/flags/${key}/explain`, { body, token: viewer })
  t.match(await explain({ context: { user: 'u1', groups: ['beta'] } }), { status: 200, body: { key: 'a', environment: 'production', steps: [{ check: 'enabled' }], resolution: { value: true, flagMetadata: { cause: 'target-group' } } } })
  t.match(await explain({ environment: 'staging' }), { status: 200, body: { resolution: { value: false, flagMetadata: { cause: 'environment-missing' } } } })
  t.match(await explain(), { status: 200, body: { resolution: { value: false } } }, 'nobody in particular')
  t.match(await explain({}, 'none'), { status: 404, body: { code: 'FST_FLAGS_FLAG_NOT_FOUND' } })
  for (const body of [[], null, 'x', { contexts: {} }, { context: [] }, { context: { groups: 'beta' } }, { environment: '__proto__' }]) t.equal((await explain(body)).status, 400, JSON.stringify(body))
})

t.test('query parameters are taken as meant or refused in a sentence', async (t) => {
  const { ask } = await startAdmin(t)
  for (const [query, message] of [
    ['limit=0', /whole number from 1 to 1000/], ['limit=1001', /1000/], ['limit=ten', /whole number/], ['limit=', /whole number/], ['limit=1&limit=2', /twice/],
    ['stale=30', /such as 12h, 30d or 2w/], ['stale=', /such as/], ['stale=-3d', /such as/], ['limt=1', /did you mean "limit"/], ['__proto__=1', /there are tag/]
  ] as const) {
    t.match(await ask('GET', `/flags?${query}`), { status: 400, body: { code: 'FST_FLAGS_INVALID_REQUEST', message } }, query)
  }
  t.equal((await ask('GET', '/changes?after=-1')).status, 400)
  for (const [method, path] of [['PUT', '/flags/a'], ['PATCH', '/flags/a'], ['DELETE', '/flags/a'], ['POST', '/flags/a/enable'], ['GET', '/flags/a'], ['GET', '/export'], ['POST', '/flags/a/explain'], ['PUT', '/segments/a']] as const) {
    t.match(await ask(method, `${path}?dryRun=true`, { body: method === 'GET' ? undefined : {} }), { status: 400, body: { message: /no query parameter "dryRun" here; there are none/ } }, `${method} ${path}`)
  }
  t.equal((await ask('POST', '/import?dryRun=maybe', { body: {} })).status, 400)
})

t.test('keys that are odd or no keys are told so, and never found', async (t) => {
  const { ask } = await startAdmin(t)
  const longest = 'k'.repeat(100)
  for (const key of ['a:b', longest, '123']) t.equal((await ask('PUT', `/flags/${key}`, { body: {} })).status, 201, key)
  t.equal((await ask('GET', '/flags/a:b')).body.key, 'a:b')
  for (const key of ['__proto__', 'constructor', 'a%2Fb', 'k'.repeat(101), 'sch%C3%B6n', '%F0%9F%8E%89', '%20', '-a', 'a%00']) {
    t.match(await ask('PUT', `/flags/${key}`, { body: {} }), { status: 400, body: { code: /^FST_FLAGS_INVALID_(DOCUMENT|REQUEST)$/, message: String } }, `PUT ${key}`)
    t.match(await ask('PUT', `/segments/${key}`, { body: { when: { attribute: 'a', operator: 'exists' } } }), { status: 400 }, `PUT segment ${key}`)
    for (const [method, path] of [['GET', ''], ['PATCH', ''], ['DELETE', ''], ['POST', '/enable'], ['GET', '/history']] as const) {
      const { status, body } = await ask(method, `/flags/${key}${path}`, method === 'PATCH' ? { body: {} } : {})
      t.ok(status === 404 || (key.length === 101 && status === 400), `${method} ${key}${path}`)
      t.match(body.code, /^FST_FLAGS_/)
    }
  }
  t.match(await ask('PUT', '/flags/', { body: {} }), { status: 400 })
  t.match(await ask('PUT', '/flags/a/b', { body: {} }), { status: 404, body: { code: 'FST_FLAGS_ROUTE_NOT_FOUND' } })
  t.match(await ask('POST', '/flags/a/revert'), { status: 400, body: { message: 'The body is not valid: it must be an object such as { "version": 42 }' } })
})

t.test('bodies that are no flag are refused, and nothing is written', async (t) => {
  const { ask } = await startAdmin(t)
  const put = async (payload: string | undefined) => await ask('PUT', '/flags/a', { payload })
  const deep = (levels: number) => `{"metadata":${'['.repeat(levels)}${']'.repeat(levels)}}`
  for (const [payload, code, detail] of [
    ['{"enabled": tru}', 'FST_FLAGS_INVALID_JSON', { message: /line 1, column 13/ }],
    ['{"enabled":true,"enabled":false}', 'FST_FLAGS_INVALID_JSON', { path: '/enabled', message: /stands twice/ }],
    ['{"__proto__":{"enabled":true}}', 'FST_FLAGS_INVALID_JSON', {}],
    [deep(5000), 'FST_FLAGS_INVALID_JSON', {}],
    ['[]', 'FST_FLAGS_INVALID_DOCUMENT', { path: '' }],
    ['null', 'FST_FLAGS_INVALID_DOCUMENT', { path: '' }],
    ['"text"', 'FST_FLAGS_INVALID_DOCUMENT', { path: '' }],
    ['{"enabled":"true"}', 'FST_FLAGS_INVALID_DOCUMENT', { path: '/enabled' }],
    ['{"serve":{"percentage":"25"}}', 'FST_FLAGS_INVALID_DOCUMENT', { path: '/serve/percentage' }],
    ['{"serve":{"percentage":null}}', 'FST_FLAGS_INVALID_DOCUMENT', { path: '/serve/percentage' }],
    ['{"targets":[{"users":"u1"}],"serve":"off"}', 'FST_FLAGS_INVALID_DOCUMENT', { path: '/targets/0/users' }],
    ['{"enabeld":true}', 'FST_FLAGS_INVALID_DOCUMENT', { path: '/enabeld' }],
    ['{"serve":"off","environments":{"production":{"enabled":true}}}', 'FST_FLAGS_INVALID_DOCUMENT', { path: '/serve' }]
  ] as const) {
    t.match(await put(payload), { status: 400, body: { statusCode: 400, code, error: 'Bad Request', message: String, details: [detail] } }, payload.slice(0, 60))
  }
  t.match(await put(undefined), { status: 400, body: { code: 'FST_FLAGS_INVALID_DOCUMENT' } }, 'no body')
  t.match(await put(JSON.stringify({ description: 'x'.repeat(1_200_000) })), { status: 413, body: { code: 'FST_FLAGS_BODY_TOO_LARGE' } })
  t.match(await ask('PUT', '/flags/a', { payload: 'enabled: true', headers: { 'content-type': 'text/yaml' } }), { status: 415, body: { code: 'FST_FLAGS_UNSUPPORTED_MEDIA_TYPE' } })
  const many = await put('{"enabled":1,"tags":"x","public":"no"}')
  t.equal(many.body.details.length, 3, 'every field at fault is told')
  t.equal((await ask('GET', '/flags/a')).status, 404)
})

t.test('nobody comes in without a token, and a reader changes nothing', async (t) => {
  const { app, ask } = await startAdmin(t)
  await ask('PUT', '/flags/a', { body: { enabled: true } })
  for (const authorization of [undefined, '', 'Bearer', 'Bearer wrong', `Basic ${alice}`, `Bearer ${alice}x`, alice]) {
    for (const [method, url] of [['GET', '/admin/flags'], ['PUT', '/admin/flags/a'], ['GET', '/admin/export']] as const) {
      const answer = await app.inject({ method, url, headers: authorization === undefined ? {} : { authorization } })
      t.match(answer.json(), { statusCode: 401, code: 'FST_FLAGS_UNAUTHORIZED', error: 'Unauthorized' }, `${method} ${authorization}`)
      t.match(answer.headers['www-authenticate'], /^Bearer realm="fastify-flags"/)
    }
  }
  for (const path of ['/flags', '/flags/a', '/flags/a/history', '/changes', '/segments', '/export']) t.equal((await ask('GET', path, { token: viewer })).status, 200, path)
  for (const [method, path] of [['PUT', '/flags/b'], ['PATCH', '/flags/a'], ['DELETE', '/flags/a'], ['POST', '/flags/a/disable'], ['POST', '/flags/a/targets'], ['PUT', '/segments/s'], ['POST', '/import']] as const) {
    t.match(await ask(method, path, { token: viewer, body: {} }), { status: 403, body: { code: 'FST_FLAGS_FORBIDDEN' } }, `${method} ${path}`)
  }
  t.match((await ask('GET', '/flags/a')).body, { enabled: true, version: 1 })
})

t.test('authorize names the actor; what it refuses or throws keeps people out', async (t) => {
  const { ask } = await startAdmin(t, {
    admin: {
      prefix: '/admin',
      readTokens: { viewer },
      authorize: async (request) => {
        const user = request.headers['x-user']
        if (user === 'throws') throw new Error('internals')
        if (user === 'unauthorized') throw Object.assign(new Error('expired'), { statusCode: 401 })
        if (user === 'forbidden') throw Object.assign(new Error('not an admin'), { statusCode: 403 })
        if (user === 'down') throw Object.assign(new Error('internals'), { statusCode: 502 })
        if (user === 'no') return false
        return user === 'true' ? true as unknown as string : user as string | undefined
      }
    }
  })
  const as = async (user?: string) => await ask('PUT', '/flags/a', { body: { description: user }, token: 'x', headers: { 'if-match': '*', ...user !== undefined && { 'x-user': user } } })
  t.match(await ask('PUT', '/flags/a', { body: {}, headers: { 'x-user': 'carol' } }), { status: 201, body: { updatedBy: 'carol' } })
  for (const [user, status] of [[undefined, 401], ['', 401], ['throws', 401], ['unauthorized', 401], ['forbidden', 403], ['no', 403], ['down', 500], ['true', 500]] as const) {
    const answer = await as(user)
    t.equal(answer.status, status, String(user))
    t.notMatch(answer.text, /internals/)
  }
  t.equal((await ask('GET', '/flags', { token: viewer })).status, 200)
  t.equal((await ask('PUT', '/flags/b', { body: {}, token: viewer, headers: { 'x-user': 'carol' } })).status, 403, 'a reader\'s token stays one')
})

t.test('authorize runs after the app\'s own authentication, even if that is added later', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.decorateRequest('user', '')
  await app.register(flags)
  await app.register(adminRoutes, { prefix: '/admin', authorize: (request) => (request as unknown as { user: string }).user })
  app.addHook('onRequest', async (request) => { Object.assign(request, { user: 'dave' }) })
  t.match((await app.inject({ method: 'PUT', url: '/admin/flags/a', headers: { 'content-type': 'application/json' }, body: '{}' })).json(), { updatedBy: 'dave' })
})

t.test('without anyone who may come in the start fails and shows the line to write', async (t) => {
  const start = async (options: AdminOptions) => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(flags)
    await app.register(adminRoutes, { prefix: '/admin', ...options })
  }
  for (const options of [{}, { tokens: {} }, { tokens: {}, readTokens: {} }]) {
    await t.rejects(start(options), { code: 'FST_FLAGS_INVALID_OPTION', message: /admin: \{ tokens: \{ alice: process\.env\.ADMIN_TOKEN \} \}/ })
  }
  await t.rejects(start({ tokens: { alice: 'short' } }), { code: 'FST_FLAGS_INVALID_OPTION', message: /admin\.tokens\["alice"\]/ })
  await t.rejects(start({ authorize: 'alice' as never }), { message: /admin\.authorize must be a function/ })
  const bare = Fastify()
  t.teardown(() => bare.close())
  await t.rejects(async () => await bare.register(adminRoutes, { tokens: { alice } }), { message: /needs fastify-flags in the same scope/ })
})

t.test('two flags plugins in two scopes have two admins', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  for (const name of ['one', 'two']) {
    await app.register(async (scope) => {
      await scope.register(flags)
      await scope.register(adminRoutes, { prefix: '/admin', tokens: { alice } })
    }, { prefix: `/${name}` })
  }
  const headers = { authorization: `Bearer ${alice}` }
  await app.inject({ method: 'PUT', url: '/one/admin/flags/a', headers: { ...headers, 'content-type': 'application/json' }, body: '{}' })
  t.equal((await app.inject({ url: '/one/admin/flags/a', headers })).statusCode, 200)
  t.equal((await app.inject({ url: '/two/admin/flags/a', headers })).statusCode, 404)
})
