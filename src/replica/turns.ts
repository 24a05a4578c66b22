/** Does one thing over and over, never twice at once. The task must not reject. */
export class Turns {
  readonly #task: () => Promise<void>
  #underWay: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor (task: () => Promise<void>) {
    this.#task = task
  }

  /** The turn that is under way, if one is. */
  get underWay (): Promise<void> | undefined {
    return this.#underWay
  }

  /** A turn that begins after this call: however many ask during a turn, exactly one more follows it. */
  take (): Promise<void> {
    if (this.#underWay === undefined) return this.#begin()
    return (this.#next ??= this.#underWay.then(() => {
      this.#next = undefined
      return this.#underWay ?? this.#begin()
    }))
  }

  #begin (): Promise<void> {
    // The task begins a moment later, so that what it calls, should it ask for a turn, finds this one under way.
    this.#underWay = Promise.resolve().then(this.#task).then(() => { this.#underWay = undefined })
    return this.#underWay
  }
}
