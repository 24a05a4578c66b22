/** What Fastify's log wrote: give `stream` as `logger: { stream }`. */
export function logs (): { stream: { write (line: string): void }, lines: () => Array<{ level: number, msg: string, [field: string]: unknown }> } {
  const written: string[] = []
  return {
    stream: { write: (line) => { written.push(line) } },
    lines: () => written.map((line) => JSON.parse(line))
  }
}
