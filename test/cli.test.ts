import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import t from 'tap'
import { runCli } from './helpers/cli.js'
import { makeFolder } from './helpers/folder.js'

// These start real processes, which takes seconds: what can be asked of `readSettings` or `serveHelp` is asked there.

t.test('what it cannot do ends with 1 and one line; what it was asked wrongly with 2', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const taken = await runCli(t, ['serve', '--memory', '--port', String(port)])
  t.match(taken, { code: 1, stderr: `fastify-flags: port ${port} of 127.0.0.1 is taken; end what listens there, or choose another with --port (0 takes a free one)\n` })

  const cwd = makeFolder(t, { 'flags.json': '{ "flags": { "a": { "enabled": true, } }' })
  const before = readFileSync(`${cwd}/flags.json`, 'utf8')
  const damaged = await runCli(t, ['serve', '--port', '0'], { cwd })
  t.equal(damaged.code, 1)
  t.match(damaged.stderr, /^fastify-flags: .*flags\.json.*line 1, column \d+.*\n$/)
  t.equal(readFileSync(`${cwd}/flags.json`, 'utf8'), before, 'a damaged file is never replaced')

  const wrong = await runCli(t, ['serve', '--prot', '1'])
  t.strictSame(wrong, { code: 2, stdout: '', stderr: 'fastify-flags: there is no option --prot; did you mean --port?\nfastify-flags serve --help tells more\n' })
})

t.test('it says what it can do and which version it is', async (t) => {
  const [help, version, slip] = await Promise.all([['serve', '--help'], ['--version'], ['srve']].map((argv) => runCli(t, argv)))
  t.match(help, { code: 0, stdout: /^fastify-flags serve \[options\]/, stderr: '' })
  t.match(version, { code: 0, stdout: `${JSON.parse(readFileSync('package.json', 'utf8')).version}\n` })
  t.match(slip, { code: 2, stderr: /there is no command "srve"; did you mean serve\?/ })
})
