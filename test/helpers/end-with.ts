import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Test } from 'tap'

/** Ends a process with its test, also when that timed out and runs no teardown. Resolves, once it has ended, to its exit code or the signal that ended it. */
export function endWith (t: Test, child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<number | string> {
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string)
  const end = () => { child.kill(signal) }
  process.once('exit', end)
  t.teardown(async () => {
    process.off('exit', end)
    end()
    await ended
  })
  return ended
}
