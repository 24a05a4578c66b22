// Apps over one Redis in a process of its own, which its parent asks to do things.
import { setTimeout as pause } from 'node:timers/promises'
import Fastify, { type InjectOptions } from 'fastify'
import flags from '../../src/index.js'

const { url, namespace, count, staleAfter } = JSON.parse(process.argv[2]!) as { url: string, namespace: string, count: number, staleAfter?: number }
const apps = Array.from({ length: count }, () => Fastify())
await Promise.all(apps.map((app) => app.register(flags, { redis: url, namespace, staleAfter, admin: { prefix: '/admin', authorize: () => 'alice' } })))
while (!apps.every((app) => app.flags?.status === 'READY')) await pause(10)
const [app] = apps as [typeof apps[0]]

async function ask (method: 'GET' | 'PUT' | 'POST', path: string, payload?: object, headers: InjectOptions['headers'] = {}) {
  const answer = await app.inject({ method, url: `/admin${path}`, payload, headers })
  return { status: answer.statusCode, body: answer.json(), etag: String(answer.headers.etag) }
}

const can = {
  /** Changes one flag so often, half of it whatever is there, half of it only the version read before; again after a 503, as its text says. */
  async change ({ key, times, name }: { key: string, times: number, name: string }) {
    const outcome = { done: 0, refused: 0, unavailable: 0, staleRefused: 0, others: [] as unknown[] }
    const blindly = async (user: string) => {
      for (;;) {
        const { status, body } = await ask('POST', `/flags/${key}/targets`, { add: { users: [user] } })
        if (status === 200) outcome.done++
        else if (status === 503) outcome.unavailable++
        else outcome.others.push(body)
        if (status !== 503) return
      }
    }
    const knowingly = async (user: string) => {
      let replaced = ''
      for (;;) {
        const { body: { key: _, version, createdAt, updatedAt, updatedBy, ...flag }, etag } = await ask('GET', `/flags/${key}`)
        const [target = { users: [] }] = flag.targets ?? []
        if (!target.users.includes(user)) { // unless a 503 only meant that the reply of Redis came too late
          replaced = etag
          const { status, body } = await ask('PUT', `/flags/${key}`, { ...flag, targets: [{ ...target, users: [...target.users, user] }] }, { 'if-match': etag })
          if (status === 412) outcome.refused++
          else if (status === 503) outcome.unavailable++
          else if (status !== 200) outcome.others.push(body)
          if (status === 412 || status === 503) continue
        }
        outcome.done++
        let stale
        do stale = await ask('PUT', `/flags/${key}`, flag, { 'if-match': replaced })
        while (stale.status === 503)
        if (stale.status === 412) outcome.staleRefused++
        return
      }
    }
    const even = Array.from({ length: times / 2 }, (_, i) => 2 * i)
    await Promise.all([
      ...even.map((i) => blindly(`${name}-${i}`)),
      (async () => { for (const i of even) await knowingly(`${name}-${i + 1}`) })()
    ])
    return outcome
  },

  async put ({ key, flag }: { key: string, flag: object }) {
    return await ask('PUT', `/flags/${key}`, flag, { 'if-none-match': '*' })
  },

  async touch ({ key, times }: { key: string, times: number }) {
    return (await app.flags.admin.patch(key, { metadata: { times } }))
  },

  isOn: ({ key }: { key: string }) => ({ on: app.flags.for('user-1').isEnabled(key), status: app.flags.status, now: Date.now() }),

  revisions: () => apps.map(({ flags }) => flags.revision),

  async close () {
    await Promise.all(apps.map((app) => app.close()))
    process.disconnect()
  }
}

process.on('message', ({ id, what, how }: { id: number, what: keyof typeof can, how: never }) => {
  void (async () => {
    const answer = await can[what](how)
    if (process.connected) process.send!({ id, answer })
  })()
})
process.send!('ready')
