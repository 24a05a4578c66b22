import { copyFile, readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import type { Store } from '../src/index.js'
import { storeContract } from '../src/store/contract.js'
import { makeFolder } from './helpers/folder.js'
import { freePort, root, startProgram } from './helpers/program.js'
import { startRedis } from './helpers/redis.js'
import { playTranscript } from './helpers/shown.js'

const folder = join(root, 'examples')

t.test('every example runs alone and answers what its first lines show', async (t) => {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.js'))
  t.ok(files.length >= 11, 'they are found')
  for (const file of files) {
    await t.test(file, async (t) => {
      const ports = [await freePort(), await freePort()]
      const env: NodeJS.ProcessEnv = { PORT: String(ports[0]), SECOND_PORT: String(ports[1]) }
      if (file === 'redis.js') {
        const { url, namespace } = await startRedis(t)
        Object.assign(env, { REDIS_URL: url, NAMESPACE: namespace })
      }
      await startProgram(t, [join(folder, file)], { env, listeners: file === 'redis.js' ? 2 : 1 })
      const steps = await playTranscript(transcriptOf(await readFile(join(folder, file), 'utf8')), (host) => {
        return `http://127.0.0.1:${ports[Number(host.split(':')[1]) - 3000]}`
      })
      t.ok(steps > 0, 'it shows something')
    })
  }
})

t.test('the sidecar answers curl as its examples show', async (t) => {
  const file = join(makeFolder(t), 'flags.json')
  await copyFile(join(folder, 'flags.json'), file)
  const { addresses } = await startProgram(t, ['dist/sidecar/cli.js', 'serve', '--port', '0', '--file', file])
  const shown = /^```console with curl\n([\s\S]*?)^```$/m.exec(await readFile(join(folder, 'sidecar', 'README.md'), 'utf8'))?.[1] ?? ''
  t.ok(await playTranscript(shown, () => addresses[0]!) > 0, 'it shows something')
})

t.test('the example of a store of one\'s own keeps the contract of stores', async (t) => {
  const { Tables, TableStore } = await import(pathToFileURL(join(folder, 'custom-store.js')).href) as { Tables: new () => object, TableStore: new (tables: object) => Store }
  for (const { name, run } of storeContract(() => {
    const tables = new Tables()
    return { open: () => new TableStore(tables) }
  })) await t.test(name, run)
})

/** The first block of commented lines that begins with a command. */
function transcriptOf (source: string): string {
  return /(?:^\/\/ \$ .*\n)(?:^\/\/ .+\n)*/m.exec(source)?.[0].replace(/^\/\/ /gm, '') ?? ''
}
