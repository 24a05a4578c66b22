import { readFile } from 'node:fs/promises'
import type { DocumentSet, ImportReport } from '../../admin.js'
import { jsonTypeOf, parseJson } from '../../model/json.js'
import type { Client } from '../client.js'
import type { Call } from '../commands.js'
import { FailedError, UsageError } from '../failures.js'
import type { Terminal } from '../terminal.js'
import { withClient } from '../with-client.js'

export async function exportAll ({ given, terminal }: Call): Promise<void> {
  await withClient({ given, terminal }, async (client) => {
    for await (const part of client.export()) await terminal.out(part)
  })
}

export async function importAll ({ words: [file], given, terminal }: Call): Promise<void> {
  const documents = await readDocuments(file!, terminal)
  const dryRun = given.has('dry-run')
  await withClient({ given, terminal, creates: !dryRun }, async (client) => {
    const report = terminal.live && !dryRun ? await watched(client, documents, terminal) : await client.import(documents, dryRun)
    await terminal.out(given.has('json') ? JSON.stringify(report) + '\n' : told(report))
  })
}

async function readDocuments (file: string, { input }: Terminal): Promise<DocumentSet> {
  const what = file === '-' ? 'what came in' : file
  const reading = file === '-' ? readAll(input) : readFile(file, 'utf8')
  const parsed = parseJson(await reading.catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(error.code === 'ENOENT' ? `there is no file ${file}` : `${what} cannot be read: ${error.message}`)
  }))
  if ('details' in parsed) throw new FailedError(`${what} is no JSON: ${parsed.details.slice(0, 3).map(({ path, message }) => `${path} ${message}`.trim()).join('; ')}`)
  if (jsonTypeOf(parsed.value) !== 'object') throw new FailedError(`${what} must be { "flags": { … }, "segments": { … } }, as fastify-flags export gives it`)
  return parsed.value as DocumentSet
}

async function readAll (input: Terminal['input']): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const part of input) text += typeof part === 'string' ? part : decoder.decode(part, { stream: true })
  return text
}

/** How many documents make an import one that a person waits for. */
const many = 200

/** Imports, and tells every half second how far it is: each document written is a change. */
async function watched (client: Client, documents: DocumentSet, terminal: Terminal): Promise<ImportReport> {
  if (Object.keys({ ...documents.flags, ...documents.segments }).length < many) return await client.import(documents, false)
  terminal.err('checking …')
  const { flags, segments } = await client.import(documents, true)
  const due = [...flags, ...segments].filter(({ action }) => action !== 'none').length
  const revision = async () => (await client.changes({ limit: 1 })).changes[0]?.version ?? 0
  const first = await revision()
  const tell = (done: number) => { if (due > 0) terminal.err(`\r\x1b[Kwriting ${due} documents: ${Math.floor(100 * done / due)} %`) }
  tell(0)
  let asking = false
  const timer = setInterval(() => {
    if (asking) return
    asking = true
    revision().then((last) => tell(Math.min(due, last - first)), () => {}).finally(() => { asking = false })
  }, 500)
  try {
    return await client.import(documents, false)
  } finally {
    clearInterval(timer)
    terminal.err('\r\x1b[K')
  }
}

function told ({ dryRun, flags, segments }: ImportReport): string {
  const counts = (['flags', 'segments'] as const).flatMap((kind) => {
    const of = (action: string) => ({ flags, segments })[kind].filter((imported) => imported.action === action).length
    const [created, replaced, same] = [of('create'), of('replace'), of('none')]
    return created + replaced + same === 0 ? [] : [`${kind}: ${created} created, ${replaced} replaced, ${same} as they were`]
  })
  const changed = [...segments, ...flags].filter(({ action }) => action !== 'none')
  const named = dryRun ? changed.map(({ key, action }) => `  ${action.padEnd(8)} ${key}\n`).join('') : ''
  const done = counts.length === 0 ? 'there is nothing in it\n' : counts.join('\n') + '\n'
  return dryRun ? `${named}${done}nothing was written (--dry-run)\n` : done
}
