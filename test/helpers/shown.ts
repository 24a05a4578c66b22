import { deepStrictEqual, fail, strictEqual } from 'node:assert'
import { setTimeout } from 'node:timers/promises'

/**
 * What the README and the examples show must be what happens. A transcript is lines: `$ curl …` and below it what it prints.
 * `…` in an expected line stands for anything; JSON is compared as JSON, so spacing does not matter. Only curl is understood,
 * and it is played with fetch: nothing but Node is needed; and `programs`, each given its words, to give what it prints.
 * A GET is asked again for half a minute until it answers so: what is changed through one process, another serves a moment later.
 */
export async function playTranscript (transcript: string, addressOf: (host: string) => string, programs: Record<string, (words: string[]) => Promise<string>> = {}): Promise<number> {
  const steps = transcript.split(/^\$ /m).slice(1)
  for (const step of steps) {
    const lines = step.replace(/\\\n\s*/g, '').split('\n')
    const command = lines[0]!
    const expected = lines.slice(1).map((line) => line.trimEnd()).filter((line) => line !== '')
    const program = programs[command.split(' ')[0]!]
    const attempts = program !== undefined || / (-X|-d) /.test(command) ? 1 : 600
    for (let attempt = 1; ; attempt++) {
      try {
        const printed = program === undefined ? await playCurl(command, addressOf) : (await program(splitWords(command).slice(1))).trimEnd().split('\n')
        compare(printed, expected, command)
        break
      } catch (error) {
        if (attempt === attempts) throw error
        await setTimeout(50)
      }
    }
  }
  return steps.length
}

async function playCurl (command: string, addressOf: (host: string) => string): Promise<string[]> {
  const [program, ...args] = splitWords(command)
  strictEqual(program, 'curl', `only curl can be played, not: ${command}`)
  const headers = new Headers()
  let method: string | undefined
  let body: string | undefined
  let url: string | undefined
  let head = false
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!
    if (arg === '-s') continue
    else if (arg === '-i') head = true
    else if (arg === '-X') method = args[++i]
    else if (arg === '-H') {
      const [, name, value] = /^([^:]+):\s*(.*)$/.exec(args[++i]!)!
      headers.append(name!, value!)
    } else if (arg === '-d') {
      body = args[++i]
      method ??= 'POST'
    } else if (arg.startsWith('-')) fail(`curl's ${arg} is not played: ${command}`)
    else url = arg
  }
  if (body !== undefined && !headers.has('content-type')) headers.set('content-type', 'application/x-www-form-urlencoded')
  const target = /^(?:http:\/\/)?(localhost:\d+)(.*)$/.exec(url ?? '')
  if (target === null) return fail(`not an address on localhost: ${command}`)
  const response = await fetch(addressOf(target[1]!) + target[2]!, { method: method ?? 'GET', headers, body })
  const text = await response.text()
  const shown = head ? [`HTTP/1.1 ${response.status} ${response.statusText}`, ...[...response.headers].map(([name, value]) => `${name}: ${value}`)] : []
  return text === '' ? shown : [...shown, ...text.trimEnd().split('\n')]
}

/** Expected header lines may be any selection of those that came, in any order; the body must be all of it. */
function compare (actual: string[], expected: string[], command: string): void {
  if (expected[0]?.startsWith('HTTP/')) {
    const bodyAt = expected.findIndex((line, i) => i > 0 && !/^[\w-]+: /.test(line))
    const wanted = bodyAt === -1 ? expected : expected.slice(0, bodyAt)
    for (const line of wanted) {
      if (!actual.some((came) => matches(came.toLowerCase(), line.toLowerCase()))) fail(`${command}\nanswered without the line ${line}:\n${actual.join('\n')}`)
    }
    if (bodyAt !== -1) compare([actual.at(-1)!], expected.slice(bodyAt), command)
    return
  }
  const came = actual.join('\n')
  const wanted = expected.join('\n')
  const cameJson = parse(came)
  const wantedJson = parse(wanted.replace(/(?<!")…(?!")/g, '"…"'))
  if (cameJson !== undefined && wantedJson !== undefined) deepStrictEqual(forget(cameJson, wantedJson), wantedJson, `${command}\nprinted ${came}`)
  else if (!matches(came, wanted)) strictEqual(came, wanted, command)
}

/** The actual value with `…` where the expected one has it. */
function forget (actual: unknown, expected: unknown): unknown {
  if (typeof expected === 'string' && typeof actual === 'string' && matches(actual, expected)) return expected
  if (expected === '…') return '…'
  if (Array.isArray(actual) && Array.isArray(expected)) return actual.map((item, i) => forget(item, expected[i]))
  if (typeof actual === 'object' && actual !== null && typeof expected === 'object' && expected !== null) {
    return Object.fromEntries(Object.entries(actual).map(([key, value]) => [key, forget(value, (expected as Record<string, unknown>)[key])]))
  }
  return actual
}

function matches (actual: string, expected: string): boolean {
  const pattern = expected.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[\\s\\S]*')
  return new RegExp(`^${pattern}$`).test(actual)
}

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function splitWords (command: string): string[] {
  return [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? match[3]!)
}
