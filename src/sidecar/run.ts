import { isFlagsError, type ErrorDetail } from '../errors.js'
import { nearest } from '../model/nearest.js'
import { commands } from './commands.js'
import { exitCodeOf, UsageError } from './failures.js'
import { commandHelp, help, version } from './help.js'
import { readLine } from './options.js'
import type { Terminal } from './terminal.js'

/** Does what a command line says, and resolves to the code that the process should end with. */
export async function run (argv: readonly string[], terminal: Terminal): Promise<number> {
  const [name = '', ...rest] = argv
  try {
    await dispatch(name, rest, terminal)
    return 0
  } catch (error) {
    const code = exitCodeOf(error)
    if (code === undefined) throw error
    if (rest.includes('--json')) terminal.err(JSON.stringify(toJson(error as Error)) + '\n')
    else terminal.err(told(error as Error, code === 2 && commands.has(name) ? `fastify-flags ${name} --help` : 'fastify-flags --help'))
    return code
  }
}

async function dispatch (name: string, rest: string[], terminal: Terminal): Promise<void> {
  const asked = name === 'help' ? rest[0] : rest.includes('--help') || rest.includes('-h') ? name : undefined
  const described = asked === undefined ? undefined : commands.get(asked)
  if (described !== undefined) return await terminal.out(commandHelp(asked!, described))
  if ((name === 'help' && asked === undefined) || name === '--help' || name === '-h') return await terminal.out(help())
  if (name === '--version' || name === '-v') return await terminal.out(version() + '\n')
  const command = commands.get(name)
  if (command === undefined) throw unknownCommand(name === 'help' ? asked! : name)
  await command.run({ ...readLine(command.options, command.words, rest, terminal.env), terminal })
}

function unknownCommand (name: string): UsageError {
  if (name === '') return new UsageError('say what to do, such as: fastify-flags serve')
  const names = [...commands.keys()]
  if (name.startsWith('-')) {
    const meant = nearest(name.replace(/^-+/, ''), ['help', 'version'])
    return new UsageError(`there is no option ${name}${meant === undefined ? ' here; a command comes first' : `; did you mean --${meant}?`}`)
  }
  const meant = nearest(name, [...names, 'help'])
  return new UsageError(`there is no command "${name}"${meant === undefined ? `; there are ${names.join(', ')}` : `; did you mean ${meant}?`}`)
}

function toJson (error: Error & { code?: string, statusCode?: number, details?: ErrorDetail[] }) {
  const { code = error instanceof UsageError ? 'USAGE' : 'FAILED', message, details } = error
  return { code, message, details }
}

function told (error: Error & { details?: ErrorDetail[] }, where: string): string {
  const details = isFlagsError(error) && error.details !== undefined && error.details.length > 1
    ? error.details.map(({ path, message }) => `  ${path} ${message}\n`).join('')
    : ''
  const more = error instanceof UsageError ? `${where} tells more\n` : ''
  return `fastify-flags: ${error.message}\n${details}${more}`
}
