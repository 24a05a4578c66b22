// Writes to a file store and a snapshot file in each of several folders, to all at once and as fast as they answer, until it is
// killed. Says each answer on its standard output: the version, the key, the number that was written, and which file of all.
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { Replica } from '../../src/replica.js'
import { SnapshotFile } from '../../src/replica/snapshot-file.js'
import { FileStore } from '../../src/store/file.js'
import { MemoryStore } from '../../src/store/memory.js'
import { documentsOf } from './reading.js'

const folders = process.argv.slice(2)

async function writeStore (folder: string, place: number): Promise<never> {
  const store = new FileStore({ file: join(folder, 'flags.json') })
  let { position: { epoch } } = await store.read()
  for (let i = 0; ; i++) {
    const key = `flag-${i % 5}`
    const expected = (await documentsOf(await store.read())).find((document) => document.key === key)?.version ?? 0
    const { version } = await store.write({ kind: 'flag', key, document: JSON.stringify({ i }), expected, epoch, by: 'writer', id: randomUUID() })
    epoch ??= (await store.read()).position.epoch
    process.stdout.write(`${version} ${key} ${i} ${place}\n`)
  }
}

async function writeSnapshots (folder: string, place: number): Promise<never> {
  const replica = new Replica({ store: new MemoryStore() })
  await replica.start()
  const file = new SnapshotFile(join(folder, 'snapshot'), 'flags')
  for (let i = 0; ; i++) {
    const { version } = await replica.write({ kind: 'flag', key: 'flag', document: JSON.stringify({ description: String(i) }), expected: i, epoch: replica.epoch, by: 'writer', id: randomUUID() })
    await replica.sync(version)
    await file.write(replica.held!)
    process.stdout.write(`${version} flag ${i} ${place}\n`)
  }
}

await Promise.all([...folders.map(writeStore), ...folders.map((folder, place) => writeSnapshots(folder, folders.length + place))])
