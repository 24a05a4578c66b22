#!/usr/bin/env node
import { run } from './run.js'

const { stdin, stdout, stderr, env } = process
const colours = env.NO_COLOR === undefined || env.NO_COLOR === ''

process.exitCode = await run(process.argv.slice(2), {
  env,
  out: write,
  err: (text) => { stderr.write(text) },
  colours: stdout.isTTY && colours,
  live: stderr.isTTY,
  input: stdin
})

async function write (text: string): Promise<void> {
  if (stdout.listenerCount('error', enough) === 0) stdout.on('error', enough)
  if (!stdout.write(text)) await new Promise((resolve) => stdout.once('drain', resolve))
}

/** Whoever reads may have read enough, as head does. */
function enough (error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
  process.exit()
}
