import Type from 'typebox'
import { Key } from '../../model/key.js'
import type { Operations } from './operation.js'

const Readiness = Type.Object({
  status: Type.Enum(['NOT_READY', 'READY', 'STALE'], { description: '`STALE`: degraded; what was last known is served, and the store has not confirmed it for a while.' }),
  environment: Key,
  revision: Type.Integer({ description: 'The revision of the store that is served; 0 before any.' }),
  staleSeconds: Type.Optional(Type.Integer({ description: 'While STALE: for how long the store has not answered.' })),
  problem: Type.Optional(Type.String({ description: 'The code of what is wrong now.' })),
  warning: Type.Optional(Type.String({ description: 'What is probably not meant, such as an environment that no flag knows.' }))
})

export const serverOperations: Operations = {
  tag: { name: 'Operations', description: 'How this server does, and what it can do.' },
  access: 'none',
  schemas: { Readiness },
  routes: {
    'GET /healthz': {
      summary: 'Is the process alive?',
      answers: { 200: { description: 'It answers.', schema: Type.Object({ status: Type.Literal('ok') }), example: { status: 'ok' } } }
    },
    'GET /readyz': {
      summary: 'Does it have flags to answer with?',
      answers: {
        200: { description: 'It does. STALE is 200 too: what was last known is better than nothing.', schema: Readiness, example: { status: 'READY', environment: 'production', revision: 42 } },
        503: { description: 'Not yet.', schema: Readiness, example: { status: 'NOT_READY', environment: 'production', revision: 0, problem: 'FST_FLAGS_STORE_UNAVAILABLE' } }
      }
    },
    'GET /openapi.json': {
      summary: 'This document',
      answers: { 200: { description: 'OpenAPI 3.1.', schema: { type: 'object' } } }
    },
    'GET /metrics': {
      summary: 'Metrics for Prometheus',
      description: 'Open where evaluation is; otherwise for read, admin and evaluation tokens, since it names the flags. It tells of all environments, so a token for one of them does not open it.',
      access: 'metrics',
      answers: { 200: { description: 'The Prometheus text format.', type: 'text/plain; version=0.0.4; charset=utf-8', schema: { type: 'string' }, example: 'fastify_flags_evaluations_total{flag="new_checkout_flow",variant="on",reason="STATIC"} 1027\nfastify_flags_revision 42\n' } }
    }
  }
}
