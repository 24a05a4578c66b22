// Writes to file stores, to all at once and as fast as they answer, until it is killed. Says each answer on its standard output.
import { randomUUID } from 'node:crypto'
import { FileStore } from '../../src/store/file.js'
import { documentsOf } from './reading.js'

await Promise.all(process.argv.slice(2).map(async (file, place) => {
  const store = new FileStore({ file })
  let { position: { epoch } } = await store.read()
  for (let i = 0; ; i++) {
    const key = `flag-${i % 5}`
    const expected = (await documentsOf(await store.read())).find((document) => document.key === key)?.version ?? 0
    const { version } = await store.write({ kind: 'flag', key, document: JSON.stringify({ i }), expected, epoch, by: 'writer', id: randomUUID() })
    epoch ??= (await store.read()).position.epoch
    process.stdout.write(`${version} ${key} ${i} ${place}\n`)
  }
}))
