import { EventEmitter } from 'node:events'
import { textOf } from '../errors.js'

/** An emitter for what must go on whatever its listeners do. */
export class CarefulEmitter<Events extends Record<keyof Events, unknown[]>> extends EventEmitter<Events> {
  /** `emit`, but what one listener throws, or rejects with, is a process warning: it reaches neither the next listener nor the caller. */
  protected say<Event extends keyof Events & string> (event: Event, ...values: Events[Event]): void {
    for (const listener of this.rawListeners(event as never) as unknown as Array<(...values: Events[Event]) => unknown>) {
      try {
        const answer = listener.apply(this, values)
        if (answer instanceof Promise) answer.catch((error) => warn(event, error))
      } catch (error) {
        warn(event, error)
      }
    }
  }
}

function warn (event: string, error: unknown): void {
  process.emitWarning(`A listener of '${event}' failed: ${textOf(error)}`, { type: 'FastifyFlagsWarning', code: 'FST_FLAGS_LISTENER' })
}
