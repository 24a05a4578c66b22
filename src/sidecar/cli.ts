#!/usr/bin/env node
import { isFlagsError } from '../errors.js'
import { nearest } from '../model/nearest.js'
import { StartError, UsageError } from './failures.js'
import { help, resetHelp, serveHelp, version } from './help.js'
import { readSettings } from './settings.js'

// Ends with 2 when what was typed or set is wrong, with 1 when it could not be done.
try {
  await run(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UsageError || error instanceof StartError || isFlagsError(error))) throw error
  tell(`fastify-flags: ${error.message}`)
  if (error instanceof UsageError) tell('fastify-flags serve --help lists all options')
  process.exitCode = error instanceof UsageError ? 2 : 1
}

async function run ([command, ...rest]: string[]): Promise<void> {
  switch (command) {
    case 'serve':
      if (rest.includes('--help') || rest.includes('-h')) process.stdout.write(serveHelp())
      else await start(rest)
      return
    case 'reset':
      if (rest.includes('--help') || rest.includes('-h')) process.stdout.write(resetHelp())
      else process.stdout.write(await erase(rest) + '\n')
      return
    case '--help': case '-h': case 'help':
      process.stdout.write(rest[0] === 'serve' ? serveHelp() : help)
      return
    case '--version': case '-v':
      process.stdout.write(version() + '\n')
      return
    case undefined:
      throw new UsageError('say what to do, such as: fastify-flags serve')
    default: {
      const meant = nearest(command, ['serve', 'reset', 'help', '--version'])
      throw new UsageError(`there is no command "${command}"${meant === undefined ? '; there are serve and reset' : `; did you mean ${meant}?`}`)
    }
  }
}

async function erase (argv: string[]): Promise<string> {
  const { reset } = await import('./reset.js')
  return await reset(argv, process.env)
}

async function start (argv: string[]): Promise<void> {
  const settings = readSettings(argv, process.env)
  const { serve } = await import('./serve.js') // all of Fastify, which no other word needs
  await serve(settings, tell)
}

function tell (text: string): void {
  process.stderr.write(text + '\n')
}
