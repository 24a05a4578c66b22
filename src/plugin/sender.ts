import type { ServerResponse } from 'node:http'
import { performance } from 'node:perf_hooks' // the global is a getter, which costs more than the clock
import type { FastifyRequest } from 'fastify'
import type { Arm } from '../evaluation/arm.js'
import type { Recorder } from '../experiments/recorder.js'
import { Flags, type Source } from '../flags.js'
import type { GuardWatch } from '../guards/watch.js'
import type { EvaluationContext } from '../model/context.js'
import type { Replica } from '../replica.js'

/** What the requests of a scope have in common. */
export interface Scope {
  readonly replica: Replica
  readonly environment: string
  readonly recorder: Recorder
  readonly guards: GuardWatch
  readonly contextOf: (request: FastifyRequest) => EvaluationContext
}

/**
 * A request that reads flags, or may read guarded ones: whom it reads them for, and how it ends. That is told once to each guarded rollout that it read.
 * Requests whose client gave up are told of too, which an onResponse hook never sees, and only who read one pays for a listener.
 */
export class Sender implements Source {
  readonly #scope: Scope
  readonly #request: FastifyRequest
  #response: ServerResponse | undefined
  #began: number | undefined
  #arms: Arm[] | undefined
  #flags: Flags | undefined

  constructor (scope: Scope, request: FastifyRequest) {
    this.#scope = scope
    this.#request = request
  }

  /** The request begins while there are guards. */
  watch (response: ServerResponse): void {
    this.#response = response
    this.#began = performance.now()
  }

  get flags (): Flags {
    return (this.#flags ??= new Flags(this.#scope.replica, this.#scope.environment, undefined, this.#scope.recorder, this))
  }

  readContext (): EvaluationContext {
    return this.#scope.contextOf(this.#request)
  }

  noteArm (arm: Arm): void {
    const arms = this.#arms
    if (arms !== undefined) {
      for (let i = 0; i < arms.length; i++) if (arms[i]!.rollout === arm.rollout) return
      arms.push(arm)
    } else if (this.#response !== undefined) { // else the guard is new, or the route was added, or a hook reads, before this plugin knows of it
      this.#arms = [arm]
      this.#awaitEnd(this.#response)
    }
  }

  #awaitEnd (response: ServerResponse): void { // on its own, since a function that makes another one pays for that each time
    response.on('close', () => { this.#end() })
  }

  #end (): void {
    this.#scope.guards.count(this.#arms!, this.#response!.statusCode >= 500, performance.now() - this.#began!)
  }
}
