import Type from 'typebox'
import { Alarm } from '../../model/guard.js'
import { changeOfFlag, mustMatch, restoreErrors, storedFlag } from './admin.js'
import type { Body, Operation, Operations } from './operation.js'

const Time = Type.Unsafe<string>({ type: 'string', format: 'date-time' })
const stage = { stage: Type.Integer({ description: 'Counted from 0; -1 before the first begins.' }), percentage: Type.Number(), groups: Type.Array(Type.String(), { description: 'Of all stages reached.' }) }

const side = Type.Object({ count: Type.Integer({ description: 'How many requests were bad, or units reached the goal.' }), of: Type.Integer({ description: 'Of how many.' }) })
const seen = Type.Optional(Type.Object({ control: side, treated: side, chance: Type.Number({ description: 'How often chance alone would bring such numbers, however often one looks; 1 where they are no worse.' }) }))

const Rollout = Type.Object({
  key: Type.String(),
  environment: Type.Optional(Type.String()),
  rule: Type.Optional(Type.String({ description: 'The name of the rule whose serve has the stages, else its number.' })),
  status: Type.Enum(['running', 'waiting', 'paused', 'disabled', 'complete'], { description: '`running`: the clock brings the next stage. `waiting`: a person has to, or its guard has to see more.' }),
  ...stage,
  stages: Type.Integer({ description: 'How many there are.' }),
  since: Type.Union([Time, Type.Null()], { description: 'When this stage was reached.' }),
  next: Type.Union([Type.Object({ ...stage, at: Type.Union([Time, Type.Null()], { description: 'Null where it does not come by itself.' }) }), Type.Null()]),
  why: Type.Optional(Type.String({ description: 'Why no next stage comes by itself.' })),
  pausedAt: Type.Optional(Time),
  disabledAt: Type.Optional(Time),
  guard: Type.Optional(Type.Object({
    minimum: Type.Integer({ description: 'So many requests of those who are in must be seen at a stage before the clock may leave it.' }),
    enough: Type.Boolean({ description: 'Whether nothing more must be seen of this stage.' }),
    requests: Type.Optional(Type.Object({ control: Type.Integer(), treated: Type.Integer() }, { description: 'Seen at this stage, of those who are in (`treated`) and of the others.' })),
    metrics: Type.Optional(Type.Object({ errors: seen, latency: seen, goal: seen }, { description: 'Of errors and latency all requests since the guard began to count; of a goal the units first seen at this stage.' })),
    alarmAt: Type.Optional(Type.Number({ description: 'It stops the rollout when a `chance` is as little as this.' }))
  }, { description: 'What its guard needs to see, and has seen so far, all processes together.' })),
  alarm: Type.Optional(Type.Unsafe<Alarm>({ ...Alarm, description: 'What its guard stopped it for; until somebody advances or resumes it.' })),
  version: Type.Integer(),
  moved: Type.Optional(Type.Object({ action: Type.Enum(['begin', 'advance', 'rollback', 'pause', 'resume', 'enable', 'disable']), version: Type.Integer(), updatedAt: Time, updatedBy: Type.Optional(Type.String()) }, { description: 'Who last did what to it, as far as the log tells.' }))
}, { description: 'Where a rollout in stages stands.' })

const Move = Type.Object({
  from: Type.Optional(Type.Integer({ minimum: -1, description: 'The stage that this moves on from: when it stands at another by now, nothing is done. Of many who answer to the same moment, one moves it.' })),
  rule: Type.Optional(Type.Union([Type.String(), Type.Integer({ minimum: 0 })], { description: 'The name of the rule whose serve has the stages, or its number, the first being 0.' })),
  version: Type.Optional(Type.Integer({ description: 'The version that this change applies to; left out, whatever is there.' }))
}, { additionalProperties: false })
const body: Body = { schema: Move, required: false, examples: { 'from wherever it stands': {}, 'from the second stage': { from: 1 }, 'of a rule': { rule: 'paying, in the EU' } } }

const move = (summary: string, description: string) => changeOfFlag(summary, { description, body, errors: ['NO_ROLLOUT', 'ROLLOUT_CONFLICT'] })
const look: Operation = {
  summary: 'Where a rollout stands',
  description: 'And when its next stage comes, and who moved it last.',
  query: { rule: { description: 'The name of the rule whose serve has the stages, or its number, the first being 0.', example: '0' } },
  answers: {
    200: {
      description: 'As it is now, by the clock too.',
      schema: Rollout,
      example: {
        key: 'new_payment_system',
        status: 'running',
        stage: 1,
        stages: 4,
        percentage: 5,
        groups: ['internal'],
        since: '2027-01-05T10:30:00.000Z',
        next: { stage: 2, percentage: 25, groups: ['internal'], at: '2027-01-06T10:30:00.000Z' },
        guard: { minimum: 200, enough: false, requests: { control: 2850, treated: 148 }, metrics: { errors: { control: { count: 12, of: 2850 }, treated: { count: 1, of: 148 }, chance: 1 } }, alarmAt: 0.005 },
        moved: { action: 'advance', version: 42, updatedAt: '2027-01-05T10:30:00.000Z', updatedBy: 'alice' },
        version: 42
      }
    }
  },
  errors: ['FLAG_NOT_FOUND', 'DAMAGED_DOCUMENT', 'WRONG_ENVIRONMENT', 'NO_ROLLOUT']
}
const routes = {
  'GET rollout': look,
  'POST rollout/advance': move('Advance a rollout by one stage', 'The clock counts: from the stage it has come to. A rollout that is paused stays so, one that is disabled does not advance.'),
  'POST rollout/rollback': move('Roll a rollout back by one stage', 'There it stays paused. From the first stage the flag, or its environment, is disabled.'),
  'POST rollout/pause': move('Pause a rollout', 'Its clock stands until somebody resumes.'),
  'POST rollout/resume': move('Resume a rollout', 'Its clock goes on where it stood; an `at` that has passed meanwhile begins its stage now.')
}

export const rolloutOperations: Pick<Operations, 'schemas' | 'routes'> = {
  schemas: { Rollout },
  routes: {
    ...Object.fromEntries(['/flags/:key', '/flags/:key/environments/:environment'].flatMap((at) => Object.entries(routes).map(([route, operation]) => [route.replace(' ', ` ${at}/`), operation]))),
    'POST /flags/:key/revert': {
      summary: 'Go back to a version of a flag',
      description: 'Writes that version anew, also of a flag that was deleted: what stood stands again, `enabled` and where its rollouts stood included.',
      access: 'write',
      headers: { 'If-Match': { ...mustMatch['If-Match'], description: 'The ETag that is replaced, or `*` for whatever is there. Needed when there is one.' } },
      body: { schema: Type.Object({ version: Type.Integer({ minimum: 1, description: 'The version to go back to.' }) }, { additionalProperties: false }), examples: { 'to version 41': { version: 41 } } },
      answers: { 200: storedFlag('The flag as it is now.') },
      errors: restoreErrors
    }
  }
}
