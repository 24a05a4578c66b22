import { readFileSync } from 'node:fs'
import t from 'tap'
import { runCli, startCli } from './helpers/cli.js'

t.test('a fresh sidecar answers a curl from the flags in its file, and ends with 0', async (t) => {
  const cwd = t.testdir({ 'flags.json': readFileSync('examples/flags.json') })
  const cli = startCli(t, ['serve', '--port', '0'], { cwd })
  const url = await cli.url
  const response = await fetch(`${url}/flags/new_checkout_flow/evaluate?user=alice`)
  t.equal(response.status, 200)
  t.match(await response.json(), { key: 'new_checkout_flow', enabled: true, value: true, variant: 'on', environment: 'production' })
  t.equal(await cli.end(), 0)
})

t.test('a misspelt option is answered with the nearest right one, and with 2', async (t) => {
  const { code, stderr, stdout } = await runCli(t, ['serve', '--prot', '1'])
  t.equal(code, 2)
  t.equal(stdout, '')
  t.match(stderr, 'there is no option --prot; did you mean --port?')
})
