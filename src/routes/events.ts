import type { FastifyReply, FastifyRequest } from 'fastify'
import { Compile } from 'typebox/compile'
import { errors, isFlagsError, type ErrorDetail } from '../errors.js'
import type { Subject } from '../evaluation/subject.js'
import type { FlagEntry } from '../evaluation/snapshot.js'
import { runningIn } from '../experiments/running.js'
import type { Counting } from '../facade.js'
import { DateTime } from '../model/date-time.js'
import { jsonTypeOf, pointer } from '../model/json.js'
import { isKey } from '../model/key.js'
import { didYouMean } from '../model/nearest.js'
import type { Access, Asker } from './access.js'
import { askingInBody } from './asking.js'
import { invalid } from './scope.js'

/** What a batch is answered: how many events were taken, and why the others were not. */
export interface EventsAnswer { accepted: number, errors: EventError[] }
export interface EventError { index: number, id?: string, code: string, message: string, details?: ErrorDetail[] }

const mostEvents = 10_000
/** Bytes of a batch. */
export const eventsBodyLimit = 4 * 1024 * 1024

/** Milliseconds that a clock elsewhere may be ahead, and that an event may be late. */
const ahead = 60_000
const late = 86_400_000

const dateTime = Compile(DateTime('when it happened'))

const fields = {
  exposure: ['id', 'type', 'flag', 'variant', 'context', 'time'],
  conversion: ['id', 'type', 'goal', 'value', 'context', 'time'],
  outcome: ['id', 'type', 'flag', 'variant', 'failed', 'durationMs', 'context', 'time']
}
const called = { exposure: 'an exposure', conversion: 'a conversion', outcome: 'an outcome' }

/**
 * Takes a batch: each event for itself, so that one which cannot be counted keeps none of the others. They are counted
 * within seconds; sent again with the same ids they count once.
 */
export function takeEvents (request: FastifyRequest, reply: FastifyReply, asker: Asker, access: Access, counting: Counting): EventsAnswer {
  const { events, environment } = readBatch(request.body)
  if (!counting.recorder.hasRoomFor(events.length) || !counting.guards.hasRoomFor(events.length)) {
    reply.header('retry-after', 1)
    throw new errors.EVENTS_FULL()
  }
  const answer: EventsAnswer = { accepted: 0, errors: [] }
  for (const [index, event] of events.entries()) {
    try {
      take(event, environment, request, asker, access, counting)
      answer.accepted++
    } catch (error) {
      if (!isFlagsError(error) || error.statusCode >= 500) throw error
      const { code, message, details } = error
      const id = jsonTypeOf(event) === 'object' ? (event as { id?: unknown }).id : undefined
      answer.errors.push({ index, ...(typeof id === 'string' && { id: id.slice(0, 200) }), code, message, ...(details !== undefined && { details }) })
    }
  }
  return answer
}

function readBatch (body: unknown): { events: unknown[], environment: string | undefined } {
  const faults: ErrorDetail[] = []
  if (jsonTypeOf(body) !== 'object') throw invalid('body', [{ path: '', message: 'must be an object such as { "events": [{ "id": "…", "type": "conversion", "goal": "purchase", "context": { "targetingKey": "u1" } }] }' }])
  const { events, environment, ...others } = body as Record<string, unknown>
  for (const name of Object.keys(others).slice(0, 100)) faults.push({ path: pointer('', name), message: `is not known here${didYouMean(name, ['events', 'environment'])}` })
  if (!Array.isArray(events) || events.length === 0 || events.length > mostEvents) faults.push({ path: '/events', message: `must be a list of 1 to ${mostEvents} events${Array.isArray(events) ? `, not ${events.length}; nothing of it was counted` : ''}` })
  if (environment !== undefined && !isKey(environment)) faults.push({ path: '/environment', message: 'must be the name of an environment; leave it out for the one this server answers for' })
  if (faults.length > 0) throw invalid('body', faults)
  return { events: events as unknown[], environment: environment as string | undefined }
}

function take (event: unknown, environment: string | undefined, request: FastifyRequest, asker: Asker, access: Access, { recorder, guards }: Counting): void {
  if (jsonTypeOf(event) !== 'object') throw new errors.EVENT_REFUSED('an event is an object such as { "id": "…", "type": "exposure", "flag": "pricing", "variant": "compact", "context": { "targetingKey": "u1" } }')
  const { id, type, flag, variant, goal, value, failed, durationMs, context, time, ...others } = event as Record<string, unknown>
  if (typeof id !== 'string' || id === '' || id.length > 200) throw new errors.EVENT_REFUSED('id must be a text of 1 to 200 characters, another for each event, and the same when the event is sent again')
  if (type !== 'exposure' && type !== 'conversion' && type !== 'outcome') throw new errors.EVENT_REFUSED('type must be "exposure", "conversion" or "outcome"')
  const unknown = Object.keys(others)[0] ?? Object.keys(event as object).find((name) => !fields[type].includes(name))
  if (unknown !== undefined) throw new errors.EVENT_REFUSED(`a field ${JSON.stringify(unknown.slice(0, 100))} is not known in ${called[type]}${didYouMean(unknown, fields[type]) || `; there are ${fields[type].join(', ')}`}`)
  // What is reported may stop a rollout.
  if (type === 'outcome' && asker?.grant !== 'server') throw new errors.FORBIDDEN('Outcomes are taken from servers only: send an evaluation token (FLAGS_EVALUATION_TOKENS), not that of a browser or none')
  const subject = access.subjectOf(request, context === undefined && environment === undefined ? undefined : askingInBody({ context, environment }), asker)
  const at = readTime(time, subject.now)
  if (type === 'exposure') return expose(subject, id, flag, variant, at, asker, access, recorder)
  if (type === 'outcome') return takeOutcome(subject, id, flag, variant, failed, durationMs, at, guards)
  const told = recorder.track(subject, goal, value, { time: at, among: (flag) => access.sees(asker, subject.snapshot.flag(flag)!) })
  if (told === 0 && !subject.context.targetingKey) throw new errors.EVENT_REFUSED('it is not said whose conversion this is; send "context": { "targetingKey": "…" }')
}

function expose (subject: Subject, id: string, flag: unknown, variant: unknown, time: number, asker: Asker, access: Access, recorder: Counting['recorder']): void {
  const entry = flagNamed(subject, flag)
  if (!access.sees(asker, entry)) throw new errors.FLAG_NOT_FOUND(JSON.stringify(entry.key))
  const running = runningIn(subject.snapshot, subject.environment).get(entry.key)
  if (running === undefined || !recorder.counts(subject.environment)) throw new errors.EVENT_REFUSED(`the flag ${entry.key} has no experiment in the environment ${subject.environment}`)
  const { experiment, unitOf } = running
  if (typeof variant !== 'string' || !experiment.variants.includes(variant)) throw new errors.EVENT_REFUSED(`variant must be one of those that the experiment compares: ${experiment.variants.join(', ')}`)
  const unit = unitOf(subject.context)
  if (unit === '') throw new errors.EVENT_REFUSED(`it is not said who was exposed; send "context" with ${JSON.stringify(experiment.by ?? 'targetingKey')}`)
  if (entry.evaluate(subject).counted?.trial === undefined) throw new errors.EVENT_REFUSED(`what the flag ${entry.key} serves in this context is not drawn by chance, and the experiment counts only what is; send the whole context that the flag was evaluated with`)
  recorder.exposed(experiment, { unit, variant, time, id })
}

function flagNamed ({ snapshot }: Subject, flag: unknown): FlagEntry {
  if (typeof flag !== 'string') throw new errors.EVENT_REFUSED('flag must be the key of a flag, in quotes')
  const entry = snapshot.flag(flag)
  if (entry === undefined) throw new errors.FLAG_NOT_FOUND(JSON.stringify(flag.slice(0, 100)))
  return entry
}

/** How a request went that another stack answered. */
function takeOutcome (subject: Subject, id: string, flag: unknown, variant: unknown, failed: unknown, durationMs: unknown, time: number, guards: Counting['guards']): void {
  const entry = flagNamed(subject, flag)
  if (typeof failed !== 'boolean') throw new errors.EVENT_REFUSED('failed must be true or false: whether the request ended in an error of the server')
  if (durationMs !== undefined && !(typeof durationMs === 'number' && durationMs >= 0 && durationMs < Infinity)) throw new errors.EVENT_REFUSED('durationMs must be a number of milliseconds, 0 or more, without quotes; leave it out where it is not known')
  const { details, counted } = entry.evaluate(subject)
  if (counted?.arm === undefined) throw new errors.EVENT_REFUSED(`what the flag ${entry.key} serves in this context (${details.flagMetadata.cause ?? 'nothing'}) is not drawn by a rollout with a guard; send the whole context that the flag was evaluated with`)
  if (variant !== details.variant) throw new errors.EVENT_REFUSED(`variant must be the one that was served; in this context that is ${details.variant}, unless the rollout has moved since`)
  if (!guards.reported(counted.arm, failed, durationMs, id, time)) throw new errors.EVENT_REFUSED('there is no room for it now: this process watches as many guarded rollouts as it can, or ends; send it again later')
}

/** When it happened, by the store's clock; left out, now. */
function readTime (time: unknown, now: number): number {
  if (time === undefined) return now
  const at = typeof time === 'number' && Number.isFinite(time) ? time : dateTime.Check(time) ? Date.parse(time) : undefined
  if (at === undefined) throw new errors.EVENT_REFUSED('time must be a date and time such as "2026-11-20T12:00:00Z", or milliseconds since 1970; leave it out for now')
  if (at > now + ahead) throw new errors.EVENT_REFUSED('time lies in the future; leave it out for now')
  if (at < now - late) throw new errors.EVENT_REFUSED('time lies more than 24 hours back; what is so late cannot be counted')
  return Math.min(at, now)
}
