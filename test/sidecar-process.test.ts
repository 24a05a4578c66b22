import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { startCli, type Cli } from './helpers/cli.js'
import { makeFolder } from './helpers/folder.js'
import { until } from './helpers/until.js'

// Each of these starts real processes, which takes seconds: what can be asked of `readSettings` or `buildSidecar` is asked there.

const secret = 'alice-secret-of-32-characters-xx'
const admin = { FLAGS_ADMIN_TOKENS: `alice=${secret}` }
const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/json' }

/** Opens a PUT that the server knows of and whose body is only begun; `finish` sends the rest and gives the status. */
async function beginPut (url: string, key: string): Promise<{ finish: () => Promise<number> }> {
  const body = '{"enabled":true}'
  const sent = request(`${url}/admin/flags/${key}`, { method: 'PUT', headers: { ...headers, 'content-length': body.length, expect: '100-continue' } })
  sent.on('error', () => {})
  sent.flushHeaders()
  await once(sent, 'continue')
  sent.write(body.slice(0, 5))
  return {
    finish: async () => {
      sent.end(body.slice(5))
      const [response] = await once(sent, 'response')
      response.resume()
      return response.statusCode
    }
  }
}

const logs = (cli: Cli) => cli.out.stdout.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as { msg: string })

t.test('in an empty folder --dev makes flags.json, and the commands it prints change and ask a flag', { skip: process.platform === 'win32' && 'a shell for its commands' }, async (t) => {
  const cwd = makeFolder(t)
  const cli = startCli(t, ['serve', '--port', '0', '--dev'], { cwd })
  const url = await cli.url
  const command = (name: string) => new RegExp(`^${name}: +(curl .*)$`, 'm').exec(cli.out.stderr)?.[1] ?? 'false'
  const run = (line: string) => JSON.parse(spawnSync('sh', ['-c', line.replace('curl', 'curl -s')], { encoding: 'utf8' }).stdout)
  if (spawnSync('curl', ['--version']).error === undefined) {
    t.match(run(command('Change')), { key: 'my-flag', enabled: true, updatedBy: 'dev' })
    t.match(run(command('Ask')), { key: 'my-flag', enabled: true, cause: 'default' })
    t.match(JSON.parse(readFileSync(`${cwd}/flags.json`, 'utf8')), { flags: { 'my-flag': { enabled: true } } })
  }
  t.notMatch(cli.out.stdout, /Bearer/, 'the token is not logged')
  await until(() => logs(cli).some(({ msg }) => msg === `listens on ${url}`)) // where scripts find it
  t.equal(await cli.end('SIGINT'), 0)
})

t.test('SIGTERM lets what was asked be answered, and takes nothing new', async (t) => {
  const cwd = makeFolder(t)
  const cli = startCli(t, ['serve', '--port', '0'], { cwd, env: admin })
  const url = await cli.url
  const { finish } = await beginPut(url, 'slow')
  cli.child.kill('SIGTERM')
  await until(() => cli.out.stdout.includes('ends once what was asked is answered'))
  await t.rejects(fetch(`${url}/healthz`))
  t.equal(await finish(), 201)
  t.equal(await cli.ended, 0)
  t.match(JSON.parse(readFileSync(`${cwd}/flags.json`, 'utf8')), { flags: { slow: { enabled: true } } })
})

t.test('a request that never comes whole does not keep it from ending well', async (t) => {
  const cli = startCli(t, ['serve', '--memory', '--port', '0', '--request-timeout', '1'], { env: admin })
  await beginPut(await cli.url, 'never')
  t.equal(await cli.end('SIGTERM'), 0)
})

t.test('a second signal ends it at once, with 1', async (t) => {
  const cli = startCli(t, ['serve', '--memory', '--port', '0'], { env: admin })
  await beginPut(await cli.url, 'never')
  cli.child.kill('SIGTERM')
  await until(() => cli.out.stdout.includes('ends once'))
  t.equal(await cli.end('SIGTERM'), 1)
})

t.test('it answers and ends though nobody reads its logs, or whoever did is gone', async (t) => {
  const [unread, left] = [0, 1].map(() => startCli(t, ['serve', '--memory', '--port', '0', '--log-level', 'debug'])) as [Cli, Cli]
  const urls = [await unread.url, await left.url]
  unread.child.stdout!.pause()
  left.child.stdout!.destroy()
  left.child.stderr!.destroy()
  // Two lines for each request: more than fits into a pipe.
  for (let i = 0; i < 40; i++) {
    const answers = await Promise.all(urls.flatMap((url) => Array.from({ length: 25 }, async () => (await fetch(`${url}/healthz`)).status)))
    t.ok(answers.every((status) => status === 200))
  }
  for (const { child } of [unread, left]) {
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    t.strictSame(await exited, [0, null])
  }
  unread.child.stdout!.resume()
})

t.test('killed while it writes, it comes back with every change that was acknowledged', async (t) => {
  const cwd = makeFolder(t)
  const first = startCli(t, ['serve', '--port', '0'], { cwd, env: admin })
  const url = await first.url
  const acknowledged: string[] = []
  const writers = Array.from({ length: 4 }, async (_, writer) => {
    for (let i = 0; ; i++) {
      const key = `flag-${writer}-${i}`
      const response = await fetch(`${url}/admin/flags/${key}`, { method: 'PUT', headers, body: '{"enabled":true}' }).catch(() => undefined)
      if (response === undefined) return
      if (response.status === 201) acknowledged.push(key)
    }
  })
  await until(() => acknowledged.length >= 40)
  t.equal(await first.end('SIGKILL'), 'SIGKILL')
  await Promise.all(writers)
  const second = startCli(t, ['serve', '--port', '0'], { cwd })
  const { flags } = await (await fetch(`${await second.url}/flags`)).json() as { flags: Array<{ key: string }> }
  const known = new Set(flags.map(({ key }) => key))
  t.strictSame(acknowledged.filter((key) => !known.has(key)), [])
  t.equal(await second.end(), 0)
})

t.test('a hand edit while it runs is served, and a damaged one is not', async (t) => {
  const cwd = makeFolder(t, { 'flags.json': '{ "flags": { "a": { "enabled": true } } }' })
  const cli = startCli(t, ['serve', '--port', '0'], { cwd })
  const url = await cli.url
  const enabled = async () => (await (await fetch(`${url}/flags/a/evaluate`)).json() as { enabled: boolean }).enabled
  t.equal(await enabled(), true)
  writeFileSync(`${cwd}/flags.json`, '{ "flags": { "a": { "enabled": false } } }')
  while (await enabled()) await setTimeout(50)
  writeFileSync(`${cwd}/flags.json`, '{ "flags": { "a": { "enabled": tr')
  await until(() => cli.out.stdout.includes('FST_FLAGS_STORE_DAMAGED'))
  t.equal(await enabled(), false)
  t.equal(await cli.end(), 0)
  t.ok(existsSync(`${cwd}/flags.json`))
})
