import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:net'
import { Redis } from 'ioredis'
import t from 'tap'
import { withoutPassword } from '../../src/sidecar/report.js'
import { startCli } from '../helpers/cli.js'
import { startOwnRedis } from '../helpers/redis.js'

const secrets = {
  'the admin token': 'planted-admin-token-0123456789',
  'the read token': 'planted-read-token-0123456789',
  'the evaluation token': 'planted-evaluation-token-01234',
  'the browser token': 'planted-browser-token-0123456789',
  'a token that is wrong': 'planted-wrong-token-0123456789',
  'a token in a URL': 'planted-url-token-0123456789',
  'the password of Redis': 'planted-redis-password',
  'a user': 'planted.user@example.org',
  'a user in a header': 'planted-header-user',
  'a group': 'planted-group',
  'a region': 'planted-region',
  'an attribute': 'planted-attribute',
  'a user of a target': 'planted-target-user'
}
const secretOf = (name: keyof typeof secrets) => secrets[name]
const bearer = (name: keyof typeof secrets) => ({ authorization: `Bearer ${secretOf(name)}` })

/** What of the planted stands in a text, however it is written there. */
function found (text: string): string[] {
  return Object.entries(secrets).flatMap(([name, secret]) => [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64').replace(/=+$/, ''), Buffer.from(secret).toString('hex'), [...Buffer.from(secret)].join(',')].some((form) => text.includes(form)) ? [name] : [])
}

for (const level of ['info', 'trace']) {
  t.test(`row 20: no user, token or password is in any log or error of a whole run, at --log-level ${level}`, { timeout: 120_000 }, async (t) => {
    const redis = await startOwnRedis(t)
    const client = new Redis(redis.url)
    client.on('error', () => {})
    t.teardown(() => client.disconnect())
    await client.config('SET', 'requirepass', secretOf('the password of Redis'))
    const url = new URL(redis.url)
    url.password = secretOf('the password of Redis')
    const cli = startCli(t, ['serve', '--port', '0', '--log-level', level], {
      env: {
        FLAGS_REDIS: url.href,
        FLAGS_ADMIN_TOKENS: `alice=${secretOf('the admin token')}`,
        FLAGS_READ_TOKENS: `board=${secretOf('the read token')}`,
        FLAGS_EVALUATION_TOKENS: `shop=${secretOf('the evaluation token')}`,
        FLAGS_BROWSER_TOKENS: `web=${secretOf('the browser token')}`
      }
    })
    const address = await cli.url
    const leaks: string[] = []
    const statuses = new Set<number>()
    const ask = async (method: string, path: string, token?: keyof typeof secrets, body?: unknown, headers: Record<string, string> = {}) => {
      const sent = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }
      const response = await fetch(address + path, { method, ...sent, headers: { ...body !== undefined && { 'content-type': 'application/json' }, ...token !== undefined && bearer(token), ...headers } })
      const text = await response.text() + JSON.stringify([...response.headers])
      statuses.add(response.status)
      if (response.status >= 400) for (const name of found(text)) leaks.push(`${name} in the ${response.status} to ${method} ${path.split('?')[0]}: ${text}`)
      return response.status
    }
    const user = encodeURIComponent(secretOf('a user'))
    const query = `user=${user}&groups=${secretOf('a group')}&region=${secretOf('a region')}&plan=${secretOf('an attribute')}&token=${secretOf('a token in a URL')}`
    const context = { targetingKey: secretOf('a user'), groups: [secretOf('a group')], region: secretOf('a region'), plan: secretOf('an attribute') }
    const identity = { 'x-user-id': secretOf('a user in a header'), 'x-user-groups': secretOf('a group'), 'x-region': secretOf('a region') }
    const flag = { enabled: true, serve: 'off', public: true, targets: [{ users: [secretOf('a user of a target')], groups: [secretOf('a group')] }], rules: [{ when: { attribute: 'plan', operator: 'matches', value: 'never' }, serve: 'on' }] }

    const exercise = async () => {
      for (const token of ['the admin token', 'the read token', 'a token that is wrong', undefined] as const) {
        await ask('PUT', '/admin/flags/planted', token, flag)
        await ask('PUT', '/admin/flags/planted', token, flag, { 'if-match': '"77"' })
        await ask('PUT', '/admin/flags/planted', token, { ...flag, wrong: 1, rules: [{}] }, { 'if-match': '*' })
        await ask('PUT', '/admin/flags/planted', token, `{"enabled":tru, "by":"${secretOf('a user of a target')}"}`)
        await ask('POST', '/admin/flags/planted/targets', token, { add: { users: [secretOf('a user of a target'), secretOf('a user')] } })
        await ask('POST', '/admin/flags/planted/targets', token, { add: { users: [secretOf('a user of a target')], groups: 1 } })
        await ask('PATCH', '/admin/flags/planted', token, { targets: [{ users: [secretOf('a user'), secretOf('a user'), 7] }] })
        await ask('POST', '/admin/flags/planted/explain', token, { context })
        await ask('POST', '/admin/flags/missing/explain', token, { context })
        await ask('POST', '/admin/flags/planted/explain', token, { context: { ...context, groups: secretOf('a group') } })
        await ask('POST', '/admin/import', token, { flags: { planted: { ...flag, serve: 'gone', targets: [{ users: [secretOf('a user'), 1] }] } } })
        for (const path of ['/admin/flags', '/admin/flags/planted', '/admin/flags/planted/history', '/admin/changes', '/admin/export', '/admin/segments', '/admin/nothing']) {
          await ask('GET', path, token)
          await ask('GET', `${path}?${query}`, token)
        }
      }
      for (const token of ['the evaluation token', 'the browser token', 'a token that is wrong', undefined] as const) {
        for (const path of ['/flags', '/flags/planted/evaluate', '/flags/missing/evaluate', '/flags/%zz/evaluate', `/flags/${'k'.repeat(101)}/evaluate`, '/nothing', '/healthz', '/readyz', '/metrics', '/openapi.json', '/docs', '/ofrep/v1/evaluate/flags']) {
          await ask('GET', `${path}?${query}`, token, undefined, identity)
          await ask('GET', `${path}?${query}&user=${user}&environment=%20x`, token)
          await ask('POST', `${path}?${query}`, token, { context })
          await ask('POST', path, token, { context: { ...context, targetingKey: 7 }, environment: 7 }, identity)
          await ask('POST', path, token, `{"context":{"targetingKey":"${secretOf('a user')}"`)
          await ask('POST', path, token, `{"context":{"targetingKey":"${secretOf('a user')}","targetingKey":"${secretOf('a user')}"}}`)
          await ask('POST', path, token, { context: { ...context, plan: secretOf('an attribute').repeat(3000) } })
        }
      }
      await ask('POST', '/flags/planted/evaluate', 'the evaluation token', 'x'.repeat(70_000))
      await ask('DELETE', `/flags/planted/evaluate?${query}`, 'the evaluation token', undefined, { ...identity, 'x-forwarded-for': '1.2.3.4' })
    }
    for (const token of ['the evaluation token', 'the browser token'] as const) await ask('GET', '/flags', token) // known from here before there are too many wrong ones
    await exercise()

    // What never becomes a request, with all of it in it
    for (const bytes of [`GET /flags?${query} HTTP/1.1\r\nHost: x\r\nX: \0\r\nAuthorization: Bearer ${secretOf('a token that is wrong')}\r\n\r\n`, `GET /flags HTTP/1.1\r\nAuthorization: Bearer ${secretOf('the admin token')}\r\nHost: x\r\nX-User-Id: ${secretOf('a user in a header').repeat(2000)}\r\n\r\n`]) {
      const said = await new Promise<string>((resolve) => {
        let said = ''
        connect({ port: Number(new URL(address).port), host: '127.0.0.1' }).on('error', () => {}).on('data', (data) => { said += String(data) }).on('close', () => resolve(said)).end(bytes)
      })
      for (const name of found(said)) leaks.push(`${name} in the answer to a malformed request`)
    }

    // Redis refuses the password, then is gone
    await client.config('SET', 'requirepass', 'another')
    await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub', 'SKIPME', 'yes')
    for (let i = 0; i < 100 && !/"level":40/.test(cli.out.stdout); i++) await sleep(100)
    await exercise()
    await redis.stop()
    await sleep(1500)
    await exercise()
    t.equal(await cli.end(), 0)

    t.ok([200, 201, 400, 401, 403, 404, 413, 429, 503].every((status) => statuses.has(status)), [...statuses].sort().join(', '))
    t.match(cli.out.stdout, /FST_FLAGS_STORE_UNAVAILABLE/, 'it did have something to say')
    t.same(leaks.slice(0, 5), [])
    for (const line of (cli.out.stdout + cli.out.stderr).split('\n')) if (found(line).length > 0) t.fail(`${found(line).join()} in the log: ${line.slice(0, 600)}`)
    t.same(found(cli.out.stdout), [])
    t.same(found(cli.out.stderr), [])
  })
}

t.test('row 20: a URL of Redis is shown without its password, wherever that stands', async (t) => {
  for (const url of ['redis://:planted@h:1/2', 'redis://user:planted@h', 'rediss://h?password=planted', 'redis://u:planted@h/0?password=planted&db=1']) t.notMatch(withoutPassword(url), 'planted')
})
