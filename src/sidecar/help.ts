import { readFileSync } from 'node:fs'
import type { Option } from './options.js'
import { resetOptions, serveOptions, tokenVariables } from './settings.js'

export const help = `fastify-flags: feature flags for Fastify, and for every other stack over HTTP

  fastify-flags serve [options]    answer flags over HTTP
  fastify-flags serve --help       its options, and the variables that stand in for them
  fastify-flags reset --redis URL  remove all flags of a Redis, for good
  fastify-flags --version

To try it:  fastify-flags serve --dev
`

export function resetHelp (): string {
  return `fastify-flags reset [options]: removes all flags, segments and their history of a Redis, for every process that serves
them. No process puts anything back afterwards, and versions go on where they stood.

Options (in brackets the variables that stand in for them; an option goes before a variable):
${described(resetOptions).join('')}`
}

function described (options: Readonly<Record<string, Option>>): string[] {
  return Object.entries(options).map(([name, { value, env, help }]) =>
    entry(`--${name}${value === undefined ? '' : ` ${value}`}`, env.length === 0 ? help : `${help} [${env.join(', ')}]`))
}

export function serveHelp (): string {
  const options = described(serveOptions)
  return `fastify-flags serve [options]: answers flags over HTTP until it is told to end

  ${'GET /flags/KEY/evaluate?user=U'.padEnd(34)}one flag for one user; more parameters are attributes: &groups=a,b&region=eu&plan=pro
  ${'GET /flags?user=U'.padEnd(34)}all flags for one user
  ${'GET|PUT|PATCH|DELETE /admin/flags/KEY'.padEnd(34)}
  ${'GET /healthz, /readyz'.padEnd(34)}it is alive; it has flags to answer with

Options (in brackets the variables that stand in for them; an option goes before a variable):
${options.join('')}
Secrets stand in the environment only, as name=secret,name=secret; a name stands in the history, and may stand here twice:
${Object.entries(tokenVariables).map(([name, what]) => entry(name, what)).join('')}
Logs are JSON lines on stdout; what a person should read at the start is on stderr.
It ends with 0 after SIGTERM or SIGINT, once what was asked is answered (a second signal ends it at once, with 1);
with 2 when an option or variable is wrong, and with 1 when it cannot start or breaks.
`
}

const width = 24

/** A name and what it is, wrapped into a column of its own. */
function entry (name: string, what: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of what.split(' ')) {
    if (line.length + word.length > 88) {
      lines.push(line)
      line = ''
    }
    line += line === '' ? word : ' ' + word
  }
  lines.push(line)
  return lines.map((line, index) => `  ${(index === 0 ? name : '').padEnd(width)}  ${line}\n`).join('')
}

/** The package's version, the same from `src` and from `dist`. */
export function version (): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
  return version
}
