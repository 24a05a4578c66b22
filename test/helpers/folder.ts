import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/** A folder for one test. It goes when all that was started after it has ended; `t.testdir()` goes before, under the feet of what writes there. */
export function makeFolder (t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'fastify-flags-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}
