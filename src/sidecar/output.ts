import { setTimeout as pause } from 'node:timers/promises'

/** Bytes that wait for whoever reads the logs, above which lines are dropped: a reader that stands still must not fill the memory. */
const mostWaiting = 16 * 1024 * 1024

/** Milliseconds that the end of the process waits for that reader. */
const patience = 1000

/**
 * Where the logs go. Not pino's own way out: at the end of the process that one waits, without a limit and deaf to signals, for
 * a pipe that nobody reads, and goes on when its reader is gone.
 */
export const logOutput = {
  write (line: string): void {
    if (process.stdout.writableLength < mostWaiting) process.stdout.write(line)
  }
}

/** Flags are answered also when nobody is left to read what is logged, or its disk is full. */
export function outliveReaders (): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
}

/** Resolves once what was logged is on its way, or its reader had its time. */
export async function logsWritten (): Promise<void> {
  const written = new Promise<void>((resolve) => { process.stdout.write('', () => resolve()) })
  await Promise.race([written, pause(patience)])
}
