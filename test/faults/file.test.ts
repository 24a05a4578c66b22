import { execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { SnapshotFile } from '../../src/replica/snapshot-file.js'
import { FileStore } from '../../src/store/file.js'
import type { Store } from '../../src/store/store.js'
import { compileProgram } from '../helpers/compiled.js'
import { makeFolder } from '../helpers/folder.js'
import { documentsOf } from '../helpers/reading.js'
import { requireOrSkip } from '../helpers/require.js'
import { until } from '../helpers/until.js'

async function documents (store: Store): Promise<Array<[string, string]>> {
  return (await documentsOf(await store.read())).map(({ key, document }): [string, string] => [key, document]).sort()
}

function flagsIn (source: string): Array<[string, string]> {
  return Object.entries(JSON.parse(source).flags).map(([key, value]): [string, string] => [key, JSON.stringify(value)]).sort()
}

t.test('row 12: kill -9 in the middle of 200 file-store and 200 snapshot-file writes leaves old or new, never damaged, never empty; log and file agree', async (t) => {
  const folder = makeFolder(t)
  const program = await compileProgram(join(folder, 'compiled'), 'file-writer.ts', 'reading.ts')
  const wrong: unknown[] = []
  let strays = 0
  let interrupted = 0
  let interruptedSnapshots = 0

  async function inspect (place: string, told: string[] | undefined) {
    const file = join(place, 'flags.json')
    const left = await readFile(file, 'utf8')
    if ((await readdir(place)).some((name) => name.endsWith('.tmp'))) strays++
    const store = new FileStore({ file })
    const { position: { revision } } = await store.read()
    const [version, key, i] = [Number(told?.[0] ?? 0), told?.[1], Number(told?.[2])]
    const { changes: [answered] } = await store.history({ limit: 1, before: version + 1 })
    const found = {
      whole: flagsIn(left).length > 0 || version === 0,
      nothingLost: version <= revision && (version === 0 || revision <= version + 1),
      answered: version === 0 || (answered?.key === key && answered?.document === JSON.stringify({ i })),
      agree: JSON.stringify(flagsIn(await readFile(file, 'utf8'))) === JSON.stringify(await documents(store))
    }
    await store.close()
    if (!Object.values(found).every(Boolean)) wrong.push({ place, ...found })
    interrupted++
  }

  async function inspectSnapshot (place: string, told: string[] | undefined) {
    const { position, snapshot } = (await new SnapshotFile(join(place, 'snapshot'), 'flags').read())!.known
    const revision = position!.revision
    const whole = snapshot.flag('flag')?.document.description === String(revision - 1)
    if (!whole || revision < Number(told?.[0]) || revision > Number(told?.[0]) + 1) wrong.push({ place, told, revision, whole })
    interruptedSnapshots++
  }

  // Each process writes to ten stores and ten snapshot files at once, so that its end interrupts twenty writes.
  await Promise.all([0, 1].map(async (lane) => {
    const places = await Promise.all(Array.from({ length: 10 }, async (_, i) => await mkdir(join(folder, `${lane}-${i}`), { recursive: true }) as string))
    for (let round = 0; round < 10; round++) {
      // A file: of what is said into a pipe that nobody reads just now, a killed process takes all but some 300 lines with it.
      const saying = await open(join(folder, `said-${lane}-${round}`), 'w+')
      const child = spawn(process.execPath, [program, ...places], { stdio: ['ignore', saying.fd, 'inherit'] })
      t.teardown(() => child.kill('SIGKILL'))
      const closed = once(child, 'close')
      const said = async () => await readFile(join(folder, `said-${lane}-${round}`), 'utf8')
      await until(async () => {
        if (child.exitCode !== null) throw new Error('the writer ended by itself')
        return new Set((await said()).match(/\d+\n/g)).size >= 20
      })
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 25))
      child.kill('SIGKILL')
      await closed
      await saying.close()
      const all = await said()
      const told = all.slice(0, all.lastIndexOf('\n')).split('\n').map((line) => line.split(' '))
      const last = (place: number) => told.findLast(([,,, of]) => of === String(place))
      await Promise.all(places.flatMap((place, i) => [inspect(place, last(i)), inspectSnapshot(place, last(10 + i)).catch((error) => wrong.push(error))]))
      for (const place of places) {
        const names = (await readdir(place)).sort().join()
        if (names !== 'flags.json,flags.json.log,snapshot') wrong.push({ place, names })
      }
    }
  }))
  t.same(wrong, [])
  t.strictSame([interrupted, interruptedSnapshots], [200, 200])
  t.comment(`${strays} of ${interrupted} interrupted writes left a temporary file, which the next start removed`)
})

t.test('row 12: a full disk is told to the writer, what was there stays whole, and writes go on once there is room', async (t) => {
  const disk = await mkdtemp(join(tmpdir(), 'flags-full-'))
  t.teardown(() => rm(disk, { recursive: true, force: true }))
  const mounted = process.platform === 'linux' && process.getuid?.() === 0 && mount(disk)
  if (!requireOrSkip(t, mounted, 'a small disk', 'run as root on Linux, where a tmpfs may be mounted')) return
  t.teardown(() => execFileSync('umount', ['-l', disk]))

  const file = join(disk, 'flags.json')
  const store = new FileStore({ file })
  t.teardown(() => store.close())
  const put = async (key: string) => {
    const { position: { epoch } } = await store.read()
    return await store.write({ kind: 'flag', key, document: JSON.stringify({ description: 'x'.repeat(3000) }), expected: 0, epoch, by: 'alice', id: randomUUID() })
  }
  const written: string[] = []
  let refused: unknown
  for (let i = 0; refused === undefined; i++) await put(`flag-${i}`).then(() => written.push(`flag-${i}`), (error) => { refused = error })
  t.match(refused, { code: 'FST_FLAGS_STORE_UNAVAILABLE', statusCode: 503, message: /ENOSPC/ })
  t.ok(written.length > 3)
  await writeFile(join(disk, 'filler'), 'x'.repeat(200_000)).catch(() => {}) // not a byte is left
  for (let i = 0; i < 5; i++) await t.rejects(put(`full-${i}`), { code: 'FST_FLAGS_STORE_UNAVAILABLE', message: /ENOSPC/ })
  t.same((await documents(store)).map(([key]) => key), written.toSorted())
  t.same(flagsIn(await readFile(file, 'utf8')), await documents(store))
  t.same((await readdir(disk)).filter((name) => name.endsWith('.tmp')), [])

  await rm(join(disk, 'filler'))
  execFileSync('mount', ['-o', 'remount,size=1m', disk])
  await put('later')
  await store.close()
  const again = new FileStore({ file })
  t.teardown(() => again.close())
  t.same((await documents(again)).map(([key]) => key), [...written, 'later'].sort())
  t.equal((await again.history({ limit: 1 })).changes[0]?.version, written.length + 1)
})

function mount (folder: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', folder], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
