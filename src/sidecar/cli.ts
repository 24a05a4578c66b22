#!/usr/bin/env node
import { run } from './run.js'

const { stdin, stdout, stderr, env } = process
const colours = env.NO_COLOR === undefined || env.NO_COLOR === ''

// Whoever reads may have read enough, as head does.
stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
})

process.exitCode = await run(process.argv.slice(2), {
  env,
  out: async (text) => { if (!stdout.write(text)) await new Promise((resolve) => stdout.once('drain', resolve)) },
  err: (text) => { stderr.write(text) },
  colours: stdout.isTTY && colours,
  live: stderr.isTTY,
  input: stdin
})
