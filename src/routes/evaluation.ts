import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { errors } from '../errors.js'
import { FastifyFlags } from '../facade.js'
import { openAccess, type AccessOptions, type Asker } from './access.js'
import { sendJson, sorted, toJson } from './answers.js'
import { askingInBody, askingInQuery, type Asking } from './asking.js'
import { allowOrigins, type Cors } from './cors.js'
import { eventsBodyLimit, takeEvents } from './events.js'
import { noteEvaluations } from './noting.js'
import { evaluationOperations } from './openapi/evaluation.js'
import { openScope } from './scope.js'

export interface EvaluationOptions extends AccessOptions {
  /** Where the routes stand, such as `/feature`; left out, at the root: `/flags/:key/evaluate`. */
  prefix?: string
  /** Whose pages may ask: a list of origins such as `https://shop.example`, or true for all. */
  cors?: Cors
  /** Shows the routes in the app's OpenAPI. */
  openapi?: boolean
}

const bodyLimit = 64 * 1024
interface KeyRoute { Params: { key: string } }

/** Evaluation for people, and for stacks without an OpenFeature SDK. An encapsulated plugin; it needs the flags plugin around it. */
export const evaluationRoutes: FastifyPluginAsync<EvaluationOptions> = async (app, { prefix, cors, openapi, ...who }) => {
  if (!app.hasDecorator('flags')) throw new errors.INVALID_OPTION('evaluationRoutes needs fastify-flags in the same scope, before it: await app.register(flags)')
  const access = openAccess(app, who)
  const { admit, beforeBody, subjectOf, sees } = access
  const scope = openScope(app, { prefix, keyed: ['/flags'], bodyLimit, visible: openapi, operations: evaluationOperations })
  allowOrigins(app, cors, ['/flags', '/flags/:key/evaluate', '/flags/events'])
  const note = noteEvaluations(app)

  function evaluate (request: FastifyRequest<KeyRoute>, reply: FastifyReply, asker: Asker, asking: Asking | undefined): FastifyReply {
    const { key } = request.params
    const subject = subjectOf(request, asking, asker)
    const entry = subject.snapshot.flag(key)
    if (entry === undefined || !sees(asker, entry)) throw new errors.FLAG_NOT_FOUND(JSON.stringify(key.slice(0, 100)))
    const outcome = entry.evaluate(subject)
    note(subject, key, outcome)
    if (outcome.details.reason === 'ERROR') throw new errors.NOT_EVALUATED(key, outcome.details.errorMessage)
    return sendJson(reply, toJson(key, outcome, asker?.grant === 'browser'))
  }

  scope.get<KeyRoute>('/flags/:key/evaluate', (request, reply) => evaluate(request, reply, admit(request, reply), askingInQuery(request)))

  scope.post<KeyRoute>('/flags/:key/evaluate', beforeBody, (request, reply) => evaluate(request, reply, admit(request, reply), askingInBody(request.body)))

  scope.get('/flags', (request, reply) => {
    const asker = admit(request, reply)
    const subject = subjectOf(request, askingInQuery(request), asker)
    let text = ''
    for (const entry of sorted(subject.snapshot)) {
      if (!sees(asker, entry)) continue
      const answer = toJson(entry.key, entry.evaluate(subject), asker?.grant === 'browser')
      text += text === '' ? answer : ',' + answer
    }
    return sendJson(reply, `{"flags":[${text}]}`)
  })

  scope.post('/flags/events', { bodyLimit: eventsBodyLimit, ...beforeBody }, (request, reply) => {
    const answer = takeEvents(request, reply, admit(request, reply), access, FastifyFlags.countingOf(app.flags))
    reply.code(answer.errors.length === 0 ? 202 : 207)
    return answer
  })
}
