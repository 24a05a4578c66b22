import { randomUUID } from 'node:crypto'
import { errors } from './errors.js'
import type { FlagEntry } from './evaluation/snapshot.js'
import type { Flag } from './model/flag.js'
import type { Replica } from './replica.js'

/** Which version a change applies to (left out: whatever is there) and who makes it. */
export interface ChangeOptions { version?: number, by?: string }

/** The one service that changes things, whoever asks: HTTP, code, the command line or a file. */
export class Admin {
  readonly #replica: Replica

  constructor (replica: Replica) {
    this.#replica = replica
  }

  get (key: string): Flag {
    const entry = this.#replica.snapshot.flag(key)
    if (entry === undefined) throw new errors.FLAG_NOT_FOUND(key)
    return present(entry)
  }

  async put (key: string, flag: Flag, { version, by }: ChangeOptions = {}): Promise<{ flag: Flag, created: boolean }> {
    const current = this.#replica.snapshot.flag(key)?.provenance.version ?? 0
    await this.#replica.store.write({
      kind: 'flag', key, document: JSON.stringify(flag), expected: version ?? current, epoch: this.#replica.epoch, by: by ?? null, id: randomUUID()
    })
    await this.#replica.sync()
    return { flag: this.get(key), created: current === 0 }
  }
}

function present ({ key, document, provenance: { version, time, by } }: FlagEntry): Flag {
  return { ...document, key, version, updatedAt: new Date(time).toISOString(), updatedBy: by ?? undefined }
}
