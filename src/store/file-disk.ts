import { randomUUID } from 'node:crypto'
import { open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** What a path leads to, or undefined when there is no file. `file` stays while a file is written to, `signature` does not. */
export async function look (path: string): Promise<{ file: string, signature: string, size: number } | undefined> {
  try {
    return signed(await stat(path, { bigint: true }))
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

export function isMissing (error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

/**
 * Replaces a file so that a crash leaves the old one or the new one: temporary file, fsync, rename, fsync of the directory.
 * `last` is asked right before the rename; when it says false nothing is replaced and undefined is returned. The file
 * keeps its mode unless one is wanted.
 */
export async function replaceFile (path: string, text: string | readonly string[], last: () => Promise<boolean> = async () => true, wantedMode?: number) {
  const temporary = `${path}.${randomUUID()}.tmp`
  try {
    const mode = wantedMode ?? await stat(path).then((found) => found.mode & 0o777, () => 0o644)
    const handle = await open(temporary, 'wx', mode)
    let looks
    try {
      for (const part of typeof text === 'string' ? [text] : text) await handle.writeFile(part)
      await handle.chmod(mode).catch(() => {}) // beyond the umask; some file systems know no modes
      await handle.sync()
      looks = signed(await handle.stat({ bigint: true }))
    } finally {
      await handle.close()
    }
    if (!await last()) return undefined
    await rename(temporary, path)
    await syncDirectory(dirname(path))
    return looks
  } finally {
    await rm(temporary, { force: true })
  }
}

/** Appends to a file, through to the disk when `sync`; returns its new size. */
export async function appendFile (path: string, text: string, sync: boolean): Promise<number> {
  return await withFile(path, 'a', async (handle) => {
    await handle.writeFile(text)
    if (sync) await handle.sync()
    return (await handle.stat()).size
  })
}

export async function truncateFile (path: string, size: number): Promise<void> {
  await withFile(path, 'r+', async (handle) => {
    await handle.truncate(size)
    await handle.sync()
  })
}

/** The bytes from an offset to the end. */
export async function readFrom (path: string, offset: number): Promise<Buffer> {
  return await withFile(path, 'r', async (handle) => {
    const chunks: Buffer[] = []
    for await (const chunk of handle.createReadStream({ start: offset, autoClose: false })) chunks.push(chunk as Buffer)
    return Buffer.concat(chunks)
  })
}

/** Removes the temporary files that a killed process left beside these paths. */
export async function removeStrays (directory: string, paths: string[]): Promise<void> {
  const names = paths.map((path) => basename(path) + '.')
  for (const file of await readdir(directory)) {
    const isOurs = names.some((name) => file.startsWith(name) && /^[0-9a-f-]{36}\.tmp$/.test(file.slice(name.length)))
    if (isOurs) await rm(join(directory, file), { force: true })
  }
}

async function withFile<T> (path: string, flags: string, use: (handle: FileHandle) => Promise<T>): Promise<T> {
  const handle = await open(path, flags)
  try {
    return await use(handle)
  } finally {
    await handle.close()
  }
}

async function syncDirectory (directory: string): Promise<void> {
  // Not every system lets a directory be opened; there the rename alone must do.
  await withFile(directory, 'r', (handle) => handle.sync()).catch(() => {})
}

function signed ({ ino, size, mtimeNs }: { ino: bigint, size: bigint, mtimeNs: bigint }) {
  return { file: String(ino), signature: `${ino}:${size}:${mtimeNs}`, size: Number(size) }
}
