import { setTimeout as pause } from 'node:timers/promises'

/** Milliseconds that closing goes on trying. */
const closesWithin = 3000

export interface RoundsOptions {
  /** Milliseconds between rounds. */
  every: number
  /** One round: sends what is due; `all`, also what would better wait. Must not reject. */
  send: (all: boolean) => Promise<void>
  /** Whether another round would have something to do. */
  goesOn: () => boolean
}

/** Sends by the way what is to be counted elsewhere: round by round, never two at once, for as long as there is something to do. */
export class Rounds {
  readonly #options: RoundsOptions
  #timer: NodeJS.Timeout | undefined
  #turn: Promise<void> = Promise.resolve()
  #closed = false

  constructor (options: RoundsOptions) {
    this.#options = options
  }

  get closed (): boolean {
    return this.#closed
  }

  /** There is something to do: the next round comes by itself. */
  wake (): void {
    if (this.#timer !== undefined || this.#closed) return
    this.#timer = setTimeout(() => {
      void this.flush().then(() => {
        this.#timer = undefined
        if (this.#options.goesOn()) this.wake()
      })
    }, this.#options.every)
    this.#timer.unref()
  }

  /** A round now, after those that were asked for before. */
  async flush (all = false): Promise<void> {
    await (this.#turn = this.#turn.then(() => this.#options.send(all)))
  }

  /** Rounds for all there is, until that is sent or some seconds are over. */
  async close (isSent: () => boolean): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    const end = performance.now() + closesWithin
    do await this.flush(true); while (!isSent() && performance.now() < end && await pause(50, true))
  }
}
