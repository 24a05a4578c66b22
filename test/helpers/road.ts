import { connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'

/** A way to a Redis that can go silent, lose answers, be cut, or refuse connections. */
export async function road (t: Test, url: string) {
  const to = Number(new URL(url).port)
  const pairs = new Set<[Socket, Socket]>()
  /** What was dropped is never sent again: a connection that missed a part is of no use any more. */
  const silenced = new Set<[Socket, Socket]>()
  /** `closed`: connections are refused. `muteAnswers`: requests arrive, answers do not. `dropAll`: nothing passes, either way. */
  const state = { closed: false, muteAnswers: false, dropAll: false }
  let expected: { text: string, then: () => void } | undefined
  const server = createServer((near) => {
    if (state.closed) return near.destroy()
    const far = connect(to, '127.0.0.1')
    const pair: [Socket, Socket] = [near, far]
    pairs.add(pair)
    const isDropped = () => {
      if (state.dropAll) silenced.add(pair)
      return silenced.has(pair)
    }
    near.on('data', (data) => {
      if (expected !== undefined && data.includes(expected.text)) {
        expected.then()
        expected = undefined
      }
      if (!isDropped()) far.write(data)
    })
    far.on('data', (data) => {
      if (state.muteAnswers) silenced.add(pair)
      if (!isDropped()) near.write(data)
    })
    for (const socket of pair) {
      socket.on('error', () => {})
      socket.on('close', () => {
        near.destroy()
        far.destroy()
        pairs.delete(pair)
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const cut = () => { for (const [near] of pairs) near.destroy() }
  /** From now on nothing passes over the connections there are; new ones work. */
  const silence = () => { for (const pair of pairs) silenced.add(pair) }
  /** Calls `then` when a request that contains the text has come, before it goes on. */
  const expect = (text: string, then: () => void) => { expected = { text, then } }
  t.teardown(async () => {
    cut()
    await new Promise((resolve) => server.close(resolve))
  })
  return { url: `redis://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`, state, cut, silence, expect, get connections () { return pairs.size } }
}
