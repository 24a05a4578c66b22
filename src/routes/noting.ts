import type { FastifyInstance } from 'fastify'
import { EvaluationMessage, evaluations } from '../diagnostics.js'
import type { Outcome } from '../evaluation/details.js'
import type { Subject } from '../evaluation/subject.js'
import { FastifyFlags } from '../facade.js'

/** Counts one answer of a flag. Hot: it runs within each request. */
export type Count = (key: string, outcome: Outcome) => void

const kCount = Symbol('fastify-flags.count')
const kStreams = Symbol('fastify-flags.streams')

/** What routes below tell: each evaluation to `count`, and in `streams` how many event streams are open. To be called before they are registered. */
export function listenToRoutes (app: FastifyInstance, count: Count, streams: Set<() => number>): void {
  app.decorate(kCount, count)
  app.decorate(kStreams, streams)
}

/** What routes with event streams call once; `size` is how many are open. */
export function noteStreams (app: FastifyInstance, size: () => number): void {
  if (app.hasDecorator(kStreams)) app.getDecorator<Set<() => number>>(kStreams).add(size)
}

/**
 * What routes call for each single evaluation of a flag that is there (bulk ones count none): it is told on the diagnostics
 * channel, and counted where this server has metrics. The channel is the process's, so it cannot be what is counted.
 */
export function noteEvaluations (app: FastifyInstance): (subject: Subject, key: string, outcome: Outcome) => void {
  const count = app.hasDecorator(kCount) ? app.getDecorator<Count>(kCount) : undefined
  const { recorder } = FastifyFlags.countingOf(app.flags)
  return (subject, key, outcome) => {
    count?.(key, outcome)
    const { counted } = outcome
    if (counted?.trial !== undefined) recorder.expose(counted.trial, subject)
    if (counted?.arm?.trial !== undefined) recorder.expose(counted.arm.trial, subject)
    if (evaluations.hasSubscribers) evaluations.publish(new EvaluationMessage(subject, key, outcome.details))
  }
}
