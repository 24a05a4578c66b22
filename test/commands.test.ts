import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { userInfo } from 'node:os'
import { stripVTControlCharacters } from 'node:util'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import flags, { FileStore, type Flag } from '../src/index.js'
import { describe } from '../src/sidecar/describe.js'
import { settingOf } from '../src/sidecar/setting.js'
import { typeOfFlag } from '../src/sidecar/commands/types.js'
import { columns } from '../src/sidecar/terminal.js'
import { callCli } from './helpers/cli.js'
import { makeFolder } from './helpers/folder.js'
import { freePort } from './helpers/program.js'
import { startRedis } from './helpers/redis.js'

const secret = 'alice-secret-of-32-characters-xx'
const documents = {
  flags: {
    checkout: { enabled: true, description: 'The new checkout', owner: 'shop', tags: ['web'], serve: { percentage: 25 } },
    limits: { environments: { production: { enabled: false, serve: 'many' }, staging: { enabled: true, serve: 'many' } }, variants: { few: { size: 10 }, many: { size: 50, lazy: true } }, offVariant: 'few' },
    'new-payment': { enabled: true, serve: { stages: [{ percentage: 0, groups: ['internal'] }, { percentage: 50 }] } },
    paying: { enabled: true, serve: 'off', rules: [{ name: 'plan', when: { all: [{ segment: 'payers' }, { attribute: 'age', operator: 'gte', value: 18 }] }, serve: 'on' }] }
  },
  segments: { payers: { when: { attribute: 'plan', operator: 'in', value: ['pro'] } } }
}

/** An app with admin routes under a prefix. */
async function startApp (t: Test): Promise<string> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory', admin: { prefix: '/internal/flags', tokens: { alice: secret }, readTokens: { board: `board-${secret}` } } })
  return `${await app.listen({ port: 0, host: '127.0.0.1' })}/internal/flags/`
}

t.test('every command does and says the same over HTTP, on a file and on Redis', async (t) => {
  const { url, namespace } = await startRedis(t)
  const me = userInfo().username
  const places = [
    { name: 'HTTP', where: ['--url', await startApp(t)], env: { FLAGS_TOKEN: secret }, by: 'alice' },
    { name: 'file', where: ['--file', `${makeFolder(t)}/flags.json`], env: {}, by: me },
    { name: 'Redis', where: ['--redis', url, '--namespace', namespace], env: {}, by: me }
  ]
  for (const { name, where, env, by } of places) {
    await t.test(name, async (t) => {
      const call = async (line: string, input?: string) => await callCli([...line.split(' '), ...where], { env, input })
      const says = async (line: string, stdout: string | RegExp, stderr: string | RegExp = '', code = 0) => {
        const called = await call(line)
        t.match(called, { code, stdout, stderr }, line)
        if (stderr === '') t.equal(called.stderr, '', line)
      }
      t.strictSame(await call('import -', JSON.stringify(documents)), { code: 0, stdout: 'flags: 4 created, 0 replaced, 0 as they were\nsegments: 1 created, 0 replaced, 0 as they were\n', stderr: '' })
      await says('list', new RegExp(`^FLAG      SERVES {40}OWNER  TAGS  CHANGED\ncheckout  25 % {42}shop   web   just now by ${by}\nlimits    production off · staging many {15}just now by ${by}\nnew-payment  0 % \\(stage 1 of 2\\) {9}just now by ${by}\npaying    off, 1 rule {33}just now by ${by}\n$`.replaceAll(/ {2,}/g, ' +').replace(/ \{\d+\}/g, ' +')))
      await says('list --tag web --owner shop --q new --json', /^\{"flags":\[\{"key":"checkout",[^\n]*\}\]\}\n$/)
      await says('list --stale 1h', '', 'no flag matches\n')
      await says('get checkout', /^\{\n {2}"key": "checkout",\n {2}"enabled": true,/)
      await says('set checkout 50%', /^checkout {2}50 % {2}\(version 6\)\n$/)
      await says('set checkout 50%', /^checkout {2}50 % {2}\(version 6, as it was\)\n$/)
      await says('disable checkout', 'checkout  off  (version 7)\n')
      await says('set checkout on', 'checkout  off  (version 8)\n', 'note: the flag as a whole is off; to switch it on: fastify-flags enable checkout\n')
      await says('enable checkout --json', /^\{"key":"checkout",.*"serve":"on",.*"version":9.*\}\n$/)
      await says('set limits 10% --environment staging', 'limits  production off · staging 10 % many  (version 10)\n')
      await says('set limits few --environment production', /^limits {2}production off · staging/, /the flag is off in production; to switch it on there: fastify-flags enable limits --environment production\n/)
      for (const change of ['enable limits', 'disable limits', 'set limits few', 'disable checkout']) {
        await says(`${change} --environment prodution`, '', /no flag knows the environment prodution; did you mean production\? If prodution is to be a new one, add --yes\n/, 2)
      }
      await says('enable limits --environment prodution --yes', '', /\/environments\/prodution\/serve is missing; say what everyone else gets/, 1)
      await says('set limits few --environment prodution --yes', /prodution off/, `note: the flag had no environment prodution until now
note: the flag is off in prodution; to switch it on there: fastify-flags enable limits --environment prodution
`)
      await says('set limits 10%', '', /flag limits serves for each environment \(production, staging, prodution\); say which one with --environment/, 2)
      await says('explain paying --user u1 --attribute plan=pro --attribute age=20', `paying for u1 in production: on (true)
TARGETING_MATCH, rule, version 5
   enabled    yes
→  rule plan  matches
              all of: yes
                segment payers: yes
                  plan in ["pro"], is "pro": yes
                age gte 18, is "20": yes
              serves on
`)
      await says('explain limits --environment staging --group a --group b --json', /"hashed":null.*"reason":"DEFAULT"/)
      await says('history checkout --limit 2', new RegExp(`^VERSION  WHEN +WHO +WHAT\n9 +\\S+Z  ${by} +on\n8 +\\S+Z  ${by} +off\n$`), 'there is more; --limit 20 shows more\n')
      await says('history --limit 1 --json', /^\{"changes":\[\{"version":12,.*"key":"limits"/)
      await says('rollout new-payment', /^new-payment: stage 1 of 2, 0 % and groups internal\n {2}waiting: .* a person advances it\n {2}next: 50 %\n {2}since \S+Z\n(?: {2}last moved .*\n)? {2}version 4\n$/)
      await says('advance new-payment', new RegExp(`^new-payment: stage 2 of 2, 50 % and groups internal\n  complete: this is the last stage\n  since \\S+Z\n  last moved by ${by} \\(advance\\) at \\S+Z\n  version 13\n$`))
      await says('advance new-payment', '', /stands at its last stage/, 1)
      await says('rollback new-payment --json', /"status":"paused","stage":0,/)
      await says('resume new-payment', /waiting/)
      await says('pause checkout', '', /checkout/, 1)
      await says('set new-payment 5%', '', /staged rollout, which this would end; move it with fastify-flags advance or rollback/, 1)
      await says('enable chekout', '', 'fastify-flags: There is no flag chekout; did you mean checkout?\n', 4)
      await says('explain nothing-like-it', '', 'fastify-flags: There is no flag nothing-like-it; fastify-flags list shows all\n', 4)
      await says('get chekout --json', '', '{"code":"FST_FLAGS_FLAG_NOT_FOUND","message":"There is no flag chekout; did you mean checkout?"}\n', 4)
      await says('types', `// Written by fastify-flags types; write it anew when flags come, go or change their kind of value.
export {} // a module, which adds to that of fastify-flags

declare module 'fastify-flags' {
  interface FlagTypes {
    /** The new checkout */
    'checkout': boolean
    'limits': { size: number, lazy?: boolean }
    'new-payment': boolean
    'paying': boolean
  }
}
`)
      const { stdout: exported } = await call('export')
      t.match(JSON.parse(exported), { flags: { checkout: { serve: 'on' } }, segments: documents.segments })
      const changed = exported.replace('"The new checkout"', '"Another"')
      t.match(await call('import - --dry-run', changed), { code: 0, stdout: '  replace  checkout\nflags: 0 created, 1 replaced, 3 as they were\nsegments: 0 created, 0 replaced, 1 as they were\nnothing was written (--dry-run)\n' })
      const refused = await call('import -', '{"flags":{"a":{"enabled":1},"b":{"enabld":true}}}')
      t.match(refused, { code: 1, stderr: /^fastify-flags: The import is not valid: .*\n {2}\/flags\/a\/enabled must be true or false.*\n {2}\/flags\/b\/enabld .*did you mean "enabled"\?.*\n$/ })
      await says('reset', '', /this removes all flags and segments .*add --yes if that is meant\n/, 2)
      await says('reset --yes', /^5 flags and segments were removed from /)
      await says('list', '', 'there are no flags yet; fastify-flags import brings some\n')
    })
  }
})

t.test('what cannot be reached ends with 3, what is refused with 1, and says what to do', async (t) => {
  const url = await startApp(t)
  const token = { env: { FLAGS_TOKEN: secret } }
  t.match(await callCli(['list', '--url', url]), { code: 1, stderr: /Set FLAGS_TOKEN to one of its admin tokens\n$/ })
  t.match(await callCli(['list', '--url', url], { env: { FLAGS_TOKEN: 'wrong' } }), { code: 1, stderr: /The token in FLAGS_TOKEN is none of its admin tokens\n$/ })
  t.match(await callCli(['reset', '--yes', '--url', url], { env: { FLAGS_TOKEN: `board-${secret}` } }), { code: 0 }, 'there is nothing to remove')
  t.match(await callCli(['import', '-', '--url', url], { env: { FLAGS_TOKEN: `board-${secret}` }, input: '{}' }), { code: 1, stderr: /The token in FLAGS_TOKEN may only read\n$/ })
  t.match(await callCli(['list', '--url', new URL(url).origin], token), { code: 1, stderr: /answered 404, and not as the admin routes of fastify-flags do; if they have a prefix, it belongs into the address/ })
  t.match(await callCli(['list', '--url', `http://127.0.0.1:${await freePort()}`]), { code: 3, stderr: /^fastify-flags: http:\/\/127.0.0.1:\d+\/admin cannot be reached: .*ECONNREFUSED/ })
  t.match(await callCli(['list', '--redis', 'redis://127.0.0.1:1']), { code: 3, stderr: /^fastify-flags: The store cannot be reached/ })
  t.match(await callCli(['list', '--json', '--redis', 'redis://127.0.0.1:1']), { code: 3, stderr: /^\{"code":"FST_FLAGS_STORE_UNAVAILABLE","message":.*\}\n$/ })

  const proxy = createServer((request, response) => { response.writeHead(502).end('<html>') }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => proxy.close())
  t.match(await callCli(['list', '--url', `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`]), { code: 3, stderr: /answered 502/ })
})

t.test('a file that a server writes can be looked at, and a change is sent to the server', async (t) => {
  const file = `${makeFolder(t, { 'flags.json': JSON.stringify(documents) })}/flags.json`
  const store = new FileStore({ file })
  t.teardown(() => store.close())
  await store.read()
  t.match(await callCli(['get', 'checkout', '--file', file]), { code: 0, stdout: /"key": "checkout"/ })
  t.match(await callCli(['disable', 'checkout', '--file', file]), { code: 1, stderr: /is written by process \d+ .*Ask that one: --url with its address, such as --url http:\/\/127.0.0.1:8080\n$/ })
})

t.test('where the flags are is said, or asked for', async (t) => {
  const fails = async (line: string, stderr: RegExp, env = {}) => t.match(await callCli(line.split(' '), { env }), { code: 2, stdout: '', stderr }, line)
  await fails('list', /^fastify-flags: say where the flags are: --url http:\/\/127.0.0.1:8080 of a server, --redis URL, or --file PATH \(there is no flags.json in this folder\)\nfastify-flags list --help tells more\n$/)
  await fails('list --file nowhere.json', /--file is nowhere.json, and there is no such file/)
  await fails('list --file a.json --url http://localhost', /--url and --file name two places; leave one of them out/)
  await fails('list --url localhost:8080', /--url is no address of a server; write it as http:\/\/127.0.0.1:8080/)
  await fails('list --url http://alice:hunter2@localhost', /^((?!hunter2).)*set FLAGS_TOKEN=secret\n/)
  await fails('list --redis localhost', /--redis is no URL of a Redis/)
  await fails('list --url http://localhost --namespace a', /--namespace is one of a Redis/)
  await fails('list', /FLAGS_URL is no address/, { FLAGS_URL: 'x', REDIS_URL: 'redis://127.0.0.1:1' })
  await fails('list --token abc', /set FLAGS_TOKEN=secret\n/)
  await fails('list --stale soon', /--stale must be a number of hours, days or weeks/)
  await fails('history --limit 0', /--limit is "0"; it is a whole number from 1 to 1000/)
  await fails('get', /KEY is missing/)
  await fails('get a b', /"b" is one word too many/)
  await fails('lst', /there is no command "lst"; did you mean list\?\nfastify-flags --help tells more\n$/)
  await fails('--hlep', /there is no option --hlep; did you mean --help\?/)
  await fails('explain a --attribute plan', /--attribute is "plan"; write it as --attribute name=value/)
  await fails('explain a --attribute groups=b', /groups is no attribute like others; use --group/)
  await fails('import nowhere.json --file a.json', /there is no file nowhere.json/)
})

t.test('a long import tells a person how far it is, and nobody else', async (t) => {
  const url = await startApp(t)
  const folder = makeFolder(t)
  const flags = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`flag-${i}`, { enabled: true }]))
  writeFileSync(`${folder}/many.json`, JSON.stringify({ flags }))
  const argv = ['import', `${folder}/many.json`, '--url', url]
  t.match(await callCli(argv, { env: { FLAGS_TOKEN: secret }, live: true }), { code: 0, stdout: /^flags: 300 created/, stderr: /^checking …\r.*writing 300 documents: 0 %/ })
  t.match(await callCli(argv, { env: { FLAGS_TOKEN: secret }, live: true }), { code: 0, stdout: /300 as they were/, stderr: /^((?!writing).)*$/s }, 'nothing is due')
  t.match(await callCli(argv, { env: { FLAGS_TOKEN: secret } }), { code: 0, stdout: /^flags: 0 created, 0 replaced, 300 as they were/, stderr: '' })
  writeFileSync(`${folder}/broken.json`, '{ "flags": { "a": {} ')
  t.match(await callCli(['import', `${folder}/broken.json`, '--url', url]), { code: 1, stderr: /broken.json is no JSON: .*line 1, column \d+/ })
})

t.test('colours are for who wants them, and columns are aligned with and without', async (t) => {
  const file = `${makeFolder(t, { 'flags.json': JSON.stringify(documents) })}/flags.json`
  const plain = await callCli(['list', '--file', file])
  const coloured = await callCli(['list', '--file', file], { colours: true })
  t.notMatch(plain.stdout, '\x1b')
  t.equal(stripVTControlCharacters(coloured.stdout), plain.stdout)
  t.match(coloured.stdout, '\x1b[1mcheckout\x1b[22m')
  t.equal(columns(['A', 'B', 'C'], [['1', '', 'x'], ['222', '', '']]), 'A    C\n1    x\n222\n')
})

t.test('what is set is said of everybody else: a percentage of what was served, or a variant', async (t) => {
  const set = (flag: Flag, value: string, environment?: string) => settingOf({ key: 'f', ...flag }, value, environment)
  t.strictSame(set({}, '25%'), { serve: { percentage: 25 } })
  t.strictSame(set({ serve: 'off' }, '0.5 %'), { serve: { percentage: 0.5 } })
  t.strictSame(set({ serve: { percentage: 5, by: 'company', seed: 's' } }, '100%'), { serve: { percentage: 100, by: 'company', seed: 's' } })
  t.strictSame(set({ serve: { percentage: 5 } }, 'on'), { serve: 'on' })
  t.strictSame(set({ variants: ['a', 'b'], serve: 'b' }, '5%'), { serve: { variant: 'b', percentage: 5 } })
  t.strictSame(set({ variants: ['a', 'b'], serve: { split: { a: 1, b: 1 } } }, '5%'), { serve: { split: { a: 1, b: 1 }, percentage: 5 } })
  t.strictSame(set({ variants: ['25%', 'b'], serve: 'b' } as Flag, '25%'), { serve: '25%' }, 'a name goes before')
  t.strictSame(set({ environments: { live: { enabled: true } } }, 'off', 'live'), { environments: { live: { serve: 'off' } } })
  const refuses = (flag: Flag, value: string, message: RegExp, environment?: string) => t.throws(() => set(flag, value, environment), { message })
  refuses({ variants: ['a', 'b'], serve: 'a' }, '5%', /serves a to everybody, so nobody knows what 5% are to get; first set it to one of b/)
  refuses({ serve: { stages: [{ percentage: 5 }] } }, 'on', /staged rollout/)
  refuses({}, '25', /did you mean 25%\?/)
  refuses({}, '250%', /more than everybody/)
  refuses({ variants: ['control', 'compact'], serve: 'control' }, 'compct', /has no variant "compct"; did you mean "compact"\?/)
  refuses({}, 'maybe', /has no variant "maybe"; it has on, off, and takes a percentage such as 25%/)
  refuses({}, 'on', /has no environments/, 'live')
  refuses({ environments: { live: {} } }, 'on', /serves for each environment \(live\)/)
  refuses({ environments: { live: {} }, variants: ['a', 'b'] }, '5%', /serves nothing there yet, .* first set it to one of b/, 'test')
  t.strictSame(set({ environments: { live: {} } }, 'on', 'test'), { environments: { test: { serve: 'on' } } })
})

t.test('a flag is described by what it serves', async (t) => {
  const at = (flag: Flag) => describe(flag, Date.parse('2026-01-02T00:00:00Z'))
  t.equal(at({}), 'off')
  t.equal(at({ enabled: true }), 'on')
  t.equal(at({ enabled: true, variants: ['a', 'b'], serve: 'a' }), 'a (as if off)')
  t.equal(at({ enabled: true, variants: ['a', 'b'], serve: { split: { a: 1, b: 2 }, percentage: 10 } }), '10 % split a 1, b 2')
  t.equal(at({ enabled: true, serve: 'off', targets: [{}, {}], rules: [], prerequisites: [{ flag: 'x' }] }), 'off, 2 targets, needs x')
  const stages = [{ percentage: 1, hours: 5 }, { percentage: 20 }]
  t.equal(at({ enabled: true, serve: { stages, state: { stage: 0, since: '2026-01-01T00:00:00Z' } } }), '20 % (stage 2 of 2)')
  t.equal(at({ enabled: true, serve: { stages, state: { stage: 0, since: '2026-01-01T00:00:00Z', pausedAt: '2026-01-01T01:00:00Z' } } }), '1 % (stage 1 of 2, paused)')
  t.equal(at({ environments: {} }), 'off')
  t.equal(at({ enabled: false, environments: { live: { enabled: true } } }), 'off')
  t.equal(at({ environments: { live: { enabled: true }, test: {} } }), 'live on · test off')
})

t.test('a flag\'s type is one that all of its values have', async (t) => {
  const type = (...values: unknown[]) => typeOfFlag({ variants: Object.fromEntries(values.map((value, i) => [`v${i}`, value])) } as Flag)
  t.equal(typeOfFlag({}), 'boolean')
  t.equal(typeOfFlag({ variants: ['a', 'b'] }), 'string')
  t.equal(type(1, 2), 'number')
  t.equal(type(null), 'null')
  t.equal(type({}, {}), 'Record<string, never>')
  t.equal(type({ a: 1, 'b-c': [1, 'x'] }, { a: 'x' }), '{ a: number | string, "b-c"?: Array<number | string> }')
  t.equal(type([], []), 'unknown[]')
  t.equal(type([{ a: [true] }], [{ b: null }]), '{ a?: boolean[], b?: null }[]')
})
