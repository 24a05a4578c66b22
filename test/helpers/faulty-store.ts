import type { Position, Reading, Store } from '../../src/store/store.js'

/** A store whose reads can be made to fail, to hang, or to wait for a word; everything else is the store behind it. */
export class FaultyStore implements Store {
  /** How many reads were begun, and how many were under way at once at most. */
  reads = 0
  concurrent = 0
  /** Called in place of, or around, the next reads. */
  onRead: ((read: () => Promise<Reading>) => Promise<Reading>) | undefined
  #underWay = 0
  #wake: (() => void) | undefined
  #refuse = (_reason: Error) => {}
  readonly #closed = new Promise<never>((_resolve, reject) => { this.#refuse = reject })

  constructor (public behind: Store) {}

  async read (since?: Position): Promise<Reading> {
    this.reads++
    this.concurrent = Math.max(this.concurrent, ++this.#underWay)
    try {
      const read = () => this.behind.read(since)
      return await (this.onRead === undefined ? read() : this.onRead(read))
    } finally {
      this.#underWay--
    }
  }

  /** For `onRead`: a read that nothing ever answers, until the store is closed. */
  hang = (): Promise<never> => this.#closed

  wake (): void {
    this.#wake?.()
  }

  watch (wake: () => void): void {
    this.#wake = wake
    this.behind.watch(wake)
  }

  write: Store['write'] = (write) => this.behind.write(write)
  history: Store['history'] = (query) => this.behind.history(query)

  async close (): Promise<void> {
    this.#closed.catch(() => {})
    this.#refuse(new Error('closed'))
    await this.behind.close()
  }
}
