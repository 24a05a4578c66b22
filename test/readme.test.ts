import { existsSync, readFileSync } from 'node:fs'
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Fastify from 'fastify'
import t from 'tap'
import flags, { type Flag } from '../src/index.js'
import { makeFolder } from './helpers/folder.js'
import { callCli } from './helpers/cli.js'
import { freePort, root, startProgram } from './helpers/program.js'
import { playTranscript } from './helpers/shown.js'

interface Block { language: string, name: string, text: string }

const blocks: Block[] = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/^```(\w+) ?(.*)\n([\s\S]*?)^```$/gm)]
  .map(([, language, name, text]) => ({ language: language!, name: name!, text: text! }))

t.test('the quick start works as it is written', async (t) => {
  const folder = makeFolder(t)
  await mkdir(join(folder, 'node_modules'))
  await symlink(root, join(folder, 'node_modules', 'fastify-flags'))
  await symlink(join(root, 'node_modules', 'fastify'), join(folder, 'node_modules', 'fastify'))
  const port = await freePort()
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  await writeFile(join(folder, 'app.js'), find('app.js').replace('3000', String(port)).replace('Fastify()', 'Fastify({ logger: true })'))
  await startProgram(t, ['app.js'], { cwd: folder })
  await writeFile(join(folder, 'flags.json'), find('flags.json'))
  t.equal(await playTranscript(find('with app.js'), () => `http://127.0.0.1:${port}`), 2)
})

t.test('every fragment of an app runs', async (t) => {
  const fragments = blocks.filter(({ language, name }) => language === 'js' && name === 'fragment')
  t.ok(fragments.length >= 3)
  for (const { text } of fragments) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(flags, { store: 'memory' })
    const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor
    await new AsyncFunction('app', text)(app)
    await app.ready()
  }
})

t.test('every flag that is shown is a valid flag', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory' })
  const { admin } = app.flags
  await admin.put('new-checkout', { enabled: true })
  const shown = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/`(\{ "(?:enabled|environments)":.*?\})` \|$/gm)].map((match) => match[1]!)
  shown.push(...blocks.filter(({ language, text }) => language === 'json' && text.startsWith('{ "enabled"')).map(({ text }) => text))
  t.ok(shown.length >= 12)
  for (const text of shown) await admin.put('shown', JSON.parse(text) as Flag)
})

t.test('an outcome that is shown is taken', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const secret = 'a-secret-of-a-server'
  await app.register(flags, { store: 'memory', evaluation: { tokens: { backend: secret } } })
  const { text } = blocks.find(({ language, text }) => language === 'json' && text.startsWith('{ "events"'))!
  const [{ flag, variant, context }] = (JSON.parse(text) as { events: [{ flag: string, variant: string, context: { targetingKey: string } }] }).events
  let seed = 0
  do await app.flags.admin.put(flag, { enabled: true, serve: { stages: [{ percentage: 50 }], guard: { errors: {} }, seed: String(seed++) } })
  while (app.flags.for(context).getVariant(flag) !== variant)
  const response = await app.inject({ method: 'POST', url: '/flags/events', headers: { authorization: `Bearer ${secret}` }, payload: JSON.parse(text) as object })
  t.same([response.statusCode, response.json()], [202, { accepted: 1, errors: [] }])
})

t.test('the server of a fresh checkout answers the first curl', async (t) => {
  const folder = makeFolder(t)
  await cp(join(root, 'examples', 'flags.json'), join(folder, 'flags.json'))
  const { addresses } = await startProgram(t, ['dist/sidecar/cli.js', 'serve', '--port', '0', '--file', join(folder, 'flags.json')])
  t.ok(await playTranscript(find('with npm start'), () => addresses[0]!) > 0)
})

t.test('changing flags over HTTP answers as it is shown, the refusals included', async (t) => {
  const token = 'a-token-for-this-test'
  for (const transcript of ['with admin', 'with layers']) {
    const { addresses } = await startProgram(t, ['dist/sidecar/cli.js', 'serve', '--port', '0', '--memory'], { env: { FLAGS_ADMIN_TOKENS: `alice=${token}` } })
    t.ok(await playTranscript(find(transcript).replaceAll('$TOKEN', token), () => addresses[0]!) > 0)
  }
})

t.test('the command line prints what is shown', async (t) => {
  const file = join(makeFolder(t), 'flags.json')
  await cp(join(root, 'examples', 'flags.json'), file)
  const program = async (words: string[]) => {
    const { code, stdout, stderr } = await callCli([...words, '--file', file])
    return code === 0 ? stdout : stderr
  }
  t.ok(await playTranscript(find('with fastify-flags'), String, { 'fastify-flags': program }) > 0)
})

t.test('what the README points to is there', async (t) => {
  const text = await readFile(join(root, 'README.md'), 'utf8')
  const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map((match) => match[1]!)
  t.ok(links.length > 0)
  for (const link of links) t.ok(existsSync(join(root, link)), link)
})

function find (name: string): string {
  const block = blocks.find((block) => block.name === name)
  if (block === undefined) throw new Error(`the README has no block "${name}"`)
  return block.text
}
