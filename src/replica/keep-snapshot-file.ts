import { errors, textOf } from '../errors.js'
import type { Replica } from '../replica.js'
import { Turns } from './turns.js'
import type { SnapshotFile } from './snapshot-file.js'

/** Milliseconds from a change to the file; changes meanwhile are written with it. */
const settleIn = 1000
/** Milliseconds between notes that nothing has changed. */
const confirmEvery = 60_000
/** Writing may take this part of the time: many flags that change all the time are written less often. */
const share = 1 / 20

/** Keeps a file at what a replica serves in sync with its store. Resolves, when closed, once the file is up to date. */
export function keepSnapshotFile (replica: Replica, file: SnapshotFile): { close (): Promise<void> } {
  let written: string | null | undefined
  let timer: NodeJS.Timeout | undefined
  let delay = settleIn
  let failing = false

  const turns = new Turns(async () => {
    const { held } = replica
    if (held === undefined) return
    try {
      const begun = performance.now()
      const { token } = held.known.position!
      if (token === written) {
        await file.touch(held.syncedAt)
      } else {
        await file.write(held)
        written = token
        delay = Math.max(settleIn, (performance.now() - begun) / share)
      }
      failing = false
    } catch (error) {
      if (!failing) replica.tell(new errors.SNAPSHOT_FILE(`${file.path} cannot be written: ${textOf(error)}`))
      failing = true
      written = undefined // the file may be gone
    }
  })

  const write = () => {
    timer = undefined
    void turns.take()
  }
  const changed = () => { timer ??= setTimeout(write, delay).unref() }
  replica.on('change', changed).on('ready', changed)
  const confirming = setInterval(() => { if (replica.status === 'READY') void turns.take() }, confirmEvery).unref()

  return {
    async close () {
      replica.off('change', changed).off('ready', changed)
      clearTimeout(timer)
      clearInterval(confirming)
      await turns.take()
    }
  }
}
