import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fasterHalf, median, row, type Row } from './measure.js'

/*
 * What a start costs: the sidecar as `npm run build` left it, from the start of its process to the first answered evaluation,
 * with 1,000 flags in a file. CPU time, user and system, which is the same on a busy machine and a quiet one, nearly.
 */

const rounds = 7
const allowed = 1000 // milliseconds

/** Answers a message with the CPU time that the process has used. */
const meter = 'data:text/javascript,process.on("message",()=>process.send(process.cpuUsage()));process.channel.unref()'

export async function start (): Promise<Row[]> {
  const flags = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`flag-${i}`, {
    enabled: true,
    description: `What flag ${i} is about, in a sentence`,
    serve: { percentage: i % 100 },
    rules: [{ name: 'paying', when: { all: [{ attribute: 'plan', operator: 'in', value: ['pro', 'team'] }] }, serve: 'on' }]
  }]))
  const text = JSON.stringify({ flags })
  const folder = await mkdtemp(join(tmpdir(), 'flags-start-'))
  const first: number[] = []
  const later: number[] = []
  for (let round = 0; round < rounds; round++) {
    const file = join(folder, `${round}.json`)
    await writeFile(file, text)
    first.push(await startOnce(file)) // a file that people wrote
    later.push(await startOnce(file)) // one that the sidecar knows
  }
  await rm(folder, { recursive: true })
  const typical = (all: number[]) => median(fasterHalf(all))
  return [
    row('start to the first answer, 1,000 flags in a new file, CPU', typical(first), allowed, 1, 'ms'),
    row('the same file once more', typical(later), allowed, 1, 'ms')
  ]
}

/** Milliseconds of CPU time. */
async function startOnce (file: string): Promise<number> {
  const child = fork('dist/sidecar/cli.js', ['serve', '--file', file, '--port', '0'], { execArgv: ['--import', meter], stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  const ended = once(child, 'exit')
  let told = ''
  for await (const data of child.stderr!) {
    told += data
    const url = /listens on (\S+)\n/.exec(told)?.[1]
    if (url === undefined) continue
    const response = await fetch(`${url}/flags/flag-7/evaluate?user=alice`)
    const { key } = await response.json() as { key: string }
    if (key !== 'flag-7') throw new Error(`it answered ${response.status}`)
    break
  }
  const answer = once(child, 'message')
  child.send('')
  const [{ user, system }] = await answer as [NodeJS.CpuUsage]
  child.kill()
  await ended
  return (user + system) / 1000
}
