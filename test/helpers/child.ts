import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Test } from 'tap'
import { endWith } from './end-with.js'

export interface FlagsProcess { ask (what: string, how?: object): Promise<any> }

/** Starts `flags-process.ts`, and resolves once its apps have loaded. `shift` milliseconds is how wrong its clock is. */
export async function startFlagsProcess (t: Test, options: { url: string, namespace: string, count?: number, staleAfter?: number }, shift = 0): Promise<FlagsProcess> {
  const clock = shift === 0 ? [] : ['--import', join(import.meta.dirname, 'shifted-date.mjs')]
  const child = fork(join(import.meta.dirname, 'flags-process.ts'), [JSON.stringify({ count: 1, ...options })], {
    execArgv: [...process.execArgv, ...clock],
    env: { ...process.env, SHIFT: String(shift) }
  })
  const ended = endWith(t, child)
  const waiting = new Map<number, (answer: unknown) => void>()
  await Promise.race([once(child, 'message'), ended.then((code) => { throw new Error(`flags-process ended with ${code}`) })])
  child.on('message', ({ id, answer }: { id: number, answer: unknown }) => { waiting.get(id)?.(answer) })
  return {
    ask: async (what, how = {}) => await new Promise((resolve) => {
      waiting.set(waiting.size, resolve)
      child.send({ id: waiting.size - 1, what, how })
    })
  }
}
