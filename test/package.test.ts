import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { makeFolder } from './helpers/folder.js'
import { root } from './helpers/program.js'

const run = promisify(execFile)
const { devDependencies: { '@openfeature/server-sdk': openfeature } } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { devDependencies: Record<string, string> }
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'

t.test('the packed tarball installs and runs in an empty folder', async (t) => {
  // Outside of this checkout, whose node_modules would make up for a dependency that is missing.
  const folder = makeFolder(t)
  // Without tap's own NODE_OPTIONS and npm's settings of this checkout, as on another machine.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => name !== 'NODE_OPTIONS' && !name.startsWith('npm_') && !name.startsWith('TAP')))
  const { stdout } = await run(npm, ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: root, env })
  const [packed] = Object.values(JSON.parse(stdout)) as Array<{ filename: string, files: Array<{ path: string }> }>
  const paths = packed!.files.map(({ path }) => path)
  t.ok(paths.includes('dist/index.js') && paths.includes('dist/index.d.ts') && paths.includes('README.md') && paths.includes('LICENSE'))
  t.notOk(paths.some((path) => /^(src|test)\//.test(path)), 'no sources, no tests')

  const app = join(folder, 'app')
  await mkdir(app)
  await writeFile(join(app, 'package.json'), '{ "name": "app", "private": true, "type": "module" }')
  await run(npm, ['install', '--prefer-offline', '--no-audit', '--no-fund', join(folder, readdirSync(folder).find((file) => file.endsWith('.tgz'))!), 'fastify'], { cwd: app, env })
  await writeFile(join(app, 'app.js'), `
    import Fastify from 'fastify'
    import flags from 'fastify-flags'
    const app = Fastify()
    await app.register(flags, { store: 'memory' })
    await app.flags.admin.put('packed', { enabled: true })
    app.get('/', async (req) => ({ packed: req.flags.isEnabled('packed') }))
    console.log((await app.inject('/')).body)
    await app.close()
  `)
  const { stdout: printed } = await run(process.execPath, ['app.js'], { cwd: app, env })
  t.equal(printed.trim(), '{"packed":true}')
  await writeFile(join(app, 'app.cjs'), 'console.log(typeof require(\'fastify-flags\').default)')
  t.equal((await run(process.execPath, ['app.cjs'], { cwd: app, env })).stdout.trim(), 'function', 'require() of it works')
  const { stdout: help } = await run(join(app, 'node_modules', '.bin', 'fastify-flags'), ['--help'], { cwd: app, env })
  t.match(help, /serve/)

  await writeFile(join(app, 'provider.js'), `
    import { OpenFeature } from '@openfeature/server-sdk'
    import Fastify from 'fastify'
    import flags from 'fastify-flags'
    import { FlagsProvider } from 'fastify-flags/openfeature'
    const app = Fastify()
    await app.register(flags, { store: 'memory' })
    await app.flags.admin.put('packed', { enabled: true })
    await OpenFeature.setProviderAndWait(new FlagsProvider(app.flags))
    console.log(await OpenFeature.getClient().getBooleanValue('packed', false))
    await app.close()
  `)
  t.notOk(existsSync(join(app, 'node_modules', '@openfeature')), 'all of the above ran without it')
  await run(npm, ['install', '--prefer-offline', '--no-audit', '--no-fund', `@openfeature/server-sdk@${openfeature}`], { cwd: app, env })
  t.equal((await run(process.execPath, ['provider.js'], { cwd: app, env })).stdout.trim(), 'true')
})
