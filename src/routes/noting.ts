import type { FastifyInstance } from 'fastify'
import { EvaluationMessage, evaluations } from '../diagnostics.js'
import type { Outcome } from '../evaluation/details.js'
import type { Subject } from '../evaluation/subject.js'

/** Counts one answer of a flag. Hot: it runs within each request. */
export type Count = (key: string, outcome: Outcome) => void

const kCount = Symbol('fastify-flags.count')

/** To be called before the routes whose evaluations are counted are registered. */
export function countEvaluations (app: FastifyInstance, count: Count): void {
  app.decorate(kCount, count)
}

/**
 * What routes call for each single evaluation of a flag that is there (bulk ones count none): it is told on the diagnostics
 * channel, and counted where this server has metrics. The channel is the process's, so it cannot be what is counted.
 */
export function noteEvaluations (app: FastifyInstance): (subject: Subject, key: string, outcome: Outcome) => void {
  const count = app.hasDecorator(kCount) ? app.getDecorator<Count>(kCount) : undefined
  return (subject, key, outcome) => {
    count?.(key, outcome)
    if (outcome.trial !== undefined) app.flags.experiments.expose(outcome.trial, subject)
    if (evaluations.hasSubscribers) evaluations.publish(new EvaluationMessage(subject, key, outcome.details))
  }
}
