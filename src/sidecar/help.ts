import { readFileSync } from 'node:fs'
import { groups, type Command } from './commands.js'
import { exitCodes } from './failures.js'
import type { Option } from './options.js'
import { tokenVariables } from './token-settings.js'
import { targetOptions } from './target.js'

const width = 24

export function help (): string {
  const lists = groups.map(({ title, commands }) =>
    `${title}\n${Object.entries(commands).map(([name, { words, summary }]) => entry([name, ...words].join(' '), summary)).join('')}`)
  return `fastify-flags: feature flags for Fastify, and for every other stack over HTTP

  fastify-flags COMMAND [options]
  fastify-flags COMMAND --help    its options, and the variables that stand in for them
  fastify-flags --version

${lists.join('\n')}
Where the flags are (for all but serve)
${options(targetOptions)}
Changes stand in the history: over --url as made by the name of the token, else by the user of this machine.
Output is for people, in colours on a terminal (unless NO_COLOR is set); --json is for scripts.

${endings()}
To try it:  fastify-flags serve --dev
`
}

export function commandHelp (name: string, { words, summary, about, examples, options: table }: Command): string {
  return `fastify-flags ${[name, ...words, '[options]'].join(' ')}: ${summary}
${about === undefined ? '' : `\n${wrapped(about, 110).join('\n')}\n`}${name === 'serve' ? routes : ''}
Options (in brackets the variables that stand in for them; an option goes before a variable)
${options(table)}
${examples === undefined ? '' : `Examples\n${examples.map((line) => `  ${line}\n`).join('')}\n`}${name === 'serve' ? serving() : endings()}`
}

const routes = `
${[
  ['GET /flags/KEY/evaluate?user=U', 'one flag for one user; others are attributes: &groups=a,b&region=eu&plan=pro'],
  ['GET /flags?user=U', 'all flags for one user'],
  ['POST /flags/events', 'exposures and conversions'],
  ['POST /ofrep/v1/evaluate/flags[/KEY]', 'what OpenFeature\'s OFREP providers ask'],
  ['GET|PUT|PATCH|DELETE /admin/flags/KEY', 'changes flags; and what else the commands here do with --url'],
  ['GET /docs, /openapi.json', 'every route, to read and to try'],
  ['GET /healthz, /readyz, /metrics', 'it is alive; it has flags to answer with; numbers for Prometheus']
].map(([route, what]) => `  ${route!.padEnd(38)} ${what}\n`).join('')}`

function serving (): string {
  return `Secrets stand in the environment only, as name=secret,name=secret; a name stands in the history, and may stand here twice
${Object.values(tokenVariables).map(({ name, help }) => entry(name, help)).join('')}
Logs are JSON lines on stdout; what a person should read at the start is on stderr.
It ends with 0 after SIGTERM or SIGINT, once what was asked is answered (a second signal ends it at once, with 1);
with 2 when an option or variable is wrong, and with 1 when it cannot start or breaks.
`
}

function endings (): string {
  return `It ends with\n${Object.entries(exitCodes).map(([code, meaning]) => `  ${code}  ${meaning}\n`).join('')}`
}

function options (table: Readonly<Record<string, Option>>): string {
  return Object.entries(table).map(([name, { value, env, help }]) =>
    entry(`--${name}${value === undefined ? '' : ` ${value}`}`, env.length === 0 ? help : `${help} [${env.join(', ')}]`)).join('')
}

/** A name and what it is, wrapped into a column of its own. */
function entry (name: string, what: string): string {
  return wrapped(what, 88).map((line, index) => `  ${(index === 0 ? name : '').padEnd(width)}  ${line}\n`).join('')
}

function wrapped (text: string, length: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line.length + word.length > length) {
      lines.push(line)
      line = ''
    }
    line += line === '' ? word : ' ' + word
  }
  return [...lines, line]
}

/** The package's version, the same from `src` and from `dist`. */
export function version (): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
  return version
}
