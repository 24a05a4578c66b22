import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/** What lies in a folder, by names. */
interface Files { [name: string]: string | Buffer | Files }

/** A folder for one test. It goes when all that was started after it has ended; `t.testdir()` goes before, under the feet of what writes there. */
export function makeFolder (t: Test, files: Files = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'fastify-flags-'))
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 10 })) // what was killed may still write for a moment
  fill(folder, files)
  return folder
}

function fill (folder: string, files: Files): void {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name)
    if (typeof content === 'string' || Buffer.isBuffer(content)) {
      writeFileSync(path, content)
    } else {
      mkdirSync(path)
      fill(path, content)
    }
  }
}
