import { setTimeout as pause } from 'node:timers/promises'

/** Waits for a condition, generously: no machine is so busy that it would not come, so that it fails only what never comes. */
export async function until (holds: () => unknown): Promise<void> {
  for (const end = performance.now() + 60_000; !await holds();) {
    if (performance.now() > end) throw new Error(`did not happen within a minute: ${holds}`)
    await pause(5)
  }
}

/** What a store says that cannot read, once it says these words: on a busy machine a first try may only tell that no answer came in time. */
export async function refusal (store: { read: () => Promise<unknown> }, words: RegExp): Promise<string> {
  let said = ''
  await until(async () => {
    const error = await store.read().then(() => undefined, (error) => error)
    if (error?.code === 'FST_FLAGS_STORE_UNAVAILABLE') said = error.message
    return words.test(said)
  })
  return said
}
