import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import Fastify from 'fastify'
import t from 'tap'
import { moveRollout, rolloutOf } from '../src/admin/rollouts.js'
import { moves } from '../src/evaluation/moves.js'
import { settleRollouts, stageAt } from '../src/model/stages.js'
import flags, { type StageEvent } from '../src/index.js'
import type { Flag } from '../src/model/flag.js'
import type { Draw, RolloutState, Stage } from '../src/model/serve.js'
import { bob, startAdmin, viewer } from './helpers/admin.js'
import { logs } from './helpers/logs.js'
import { until } from './helpers/until.js'

const hour = 3_600_000
const start = Date.parse('2026-01-01T00:00:00Z')
const iso = (time: number) => new Date(time).toISOString()
const at = (hours: number) => iso(start + hours * hour)

const insidersFirst: Stage[] = [{ percentage: 0, groups: ['internal'] }, { percentage: 5 }, { percentage: 25, groups: ['beta'] }, { percentage: 100 }]
const hourly: Stage[] = [{ percentage: 5, hours: 2 }, { percentage: 25, hours: 3 }, { percentage: 50 }, { percentage: 100 }]

/** A flag whose rollout began at the start, moved on by hand as an operator would. */
function rollout (stages: Stage[], began = start) {
  let flag = settleRollouts(undefined, { enabled: true, serve: { stages } }, began)
  const serveOf = () => flag.serve as Draw
  return {
    stage: (hours: number) => stageAt({ stages, state: serveOf().state }, start + hours * hour),
    state: () => serveOf().state!,
    look: (hours: number) => rolloutOf('a', flag, {}, start + hours * hour),
    move (move: typeof moves[number], hours: number, from?: number) {
      const now = start + hours * hour
      const next = moveRollout('a', flag, move, { from }, now)
      flag = settleRollouts(next, next, now)
    },
    enable (enabled: boolean, hours: number) {
      flag = settleRollouts(flag, { ...flag, enabled }, start + hours * hour)
    },
    get enabled () { return flag.enabled }
  }
}

t.test('an advance goes one stage on from where the clock has brought the rollout', async (t) => {
  const { move, stage, state } = rollout(hourly)
  move('advance', 1)
  t.same([1, 3.9, 4].map(stage), [1, 1, 2], 'and the hours of the new stage begin then')
  move('advance', 5)
  t.same(state(), { stage: 3, since: at(5) }, 'the clock had reached 2')
  t.throws(() => move('advance', 6), { code: 'FST_FLAGS_ROLLOUT_CONFLICT', statusCode: 409, message: /last stage, 100 % of users/ })
})

t.test('an advance of what has not begun begins it, and a time that was still to come does not count again', async (t) => {
  const { move, stage } = rollout([{ percentage: 5, at: at(10), hours: 2 }, { percentage: 50, at: at(20) }, { percentage: 100 }])
  t.equal(stage(1), -1)
  move('advance', 1)
  t.same([1, 2.9, 3, 25].map(stage), [0, 0, 1, 1])
})

t.test('a move that names the stage it moves from happens there only', async (t) => {
  const { move, stage } = rollout(hourly)
  t.throws(() => move('advance', 3, 0), { code: 'FST_FLAGS_ROLLOUT_CONFLICT', message: /stands at stage 1, not 0/ }, 'the clock was faster')
  move('advance', 3, 1)
  t.throws(() => move('advance', 3, 1), { code: 'FST_FLAGS_ROLLOUT_CONFLICT' })
  t.throws(() => move('rollback', 3, 1), { code: 'FST_FLAGS_ROLLOUT_CONFLICT' })
  t.equal(stage(3), 2)
})

t.test('a rollback goes one stage down and stays there until resumed, whatever times have passed', async (t) => {
  const { move, stage, state } = rollout([{ percentage: 5 }, { percentage: 25, at: at(1), hours: 1 }, { percentage: 50, at: at(2) }, { percentage: 100, at: at(30) }])
  t.equal(stage(10), 2)
  move('rollback', 10)
  t.same(state(), { stage: 1, since: at(10), pausedAt: at(10) })
  t.same([10, 20, 40].map(stage), [1, 1, 1])
  move('resume', 20)
  t.same([20, 29, 30].map(stage), [2, 2, 3], 'what its times say holds again')
})

t.test('a rollback from the first stage, or of what has not begun, disables', async (t) => {
  const begun = rollout(insidersFirst)
  begun.move('rollback', 1)
  t.equal(begun.enabled, false)
  t.same(begun.state(), { stage: 0, since: at(0), disabledAt: at(1) })
  t.throws(() => begun.move('rollback', 2), { code: 'FST_FLAGS_ROLLOUT_CONFLICT', message: /is disabled, and its rollout stands at its first stage/ })
  const waiting = rollout([{ percentage: 5, at: at(10) }])
  waiting.move('rollback', 1)
  t.equal(waiting.enabled, false)
})

t.test('a pause stops hours and times, and a resume moves them by as long as it stood', async (t) => {
  const { move, stage, state } = rollout(hourly)
  move('pause', 3)
  t.same(state(), { stage: 1, since: at(2), pausedAt: at(3) })
  move('pause', 4)
  t.equal(state().pausedAt, at(3), 'pausing again is nothing new')
  t.same([3, 100].map(stage), [1, 1])
  move('resume', 10)
  t.same(state(), { stage: 1, since: at(9) })
  t.same([11.9, 12].map(stage), [1, 2])
  move('resume', 12)
  t.same(state(), { stage: 1, since: at(9) })
})

t.test('a paused rollout is moved by hand and stays paused', async (t) => {
  const { move, stage, state } = rollout(hourly)
  move('pause', 1)
  move('advance', 5)
  t.same(state(), { stage: 1, since: at(5), pausedAt: at(5) })
  t.equal(stage(50), 1)
  move('resume', 60)
  t.same([60, 62.9, 63].map(stage), [1, 1, 2])
})

t.test('nothing advances what is disabled; it may be paused and rolled back, and goes on when enabled and resumed', async (t) => {
  const { move, stage, state, enable } = rollout(hourly)
  enable(false, 3)
  t.throws(() => move('advance', 4), { code: 'FST_FLAGS_ROLLOUT_CONFLICT', message: /is disabled, and its rollout does not advance; enable it first/ })
  move('pause', 4)
  t.same(state(), { stage: 1, since: at(2), disabledAt: at(3), pausedAt: at(3) })
  enable(true, 5)
  t.same(state(), { stage: 1, since: at(2), pausedAt: at(3) })
  enable(false, 6)
  move('resume', 7)
  t.same(state(), { stage: 1, since: at(2), disabledAt: at(3) })
  move('rollback', 8)
  t.same(state(), { stage: 0, since: at(8), disabledAt: at(8), pausedAt: at(8) })
  enable(true, 9)
  move('resume', 10)
  t.same([10, 11.9, 12].map(stage), [0, 0, 1])
})

const anyStages = fc.array(fc.record({ hours: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }), at: fc.option(fc.integer({ min: 0, max: 40 }), { nil: undefined }) }), { minLength: 1, maxLength: 5 })
  .map((stages) => {
    let latest = 0
    return stages.map(({ hours, at: begins }, index): Stage => {
      if (begins !== undefined) latest = Math.max(latest, begins)
      return { percentage: index * 20, hours, ...begins !== undefined && { at: at(latest) } }
    })
  })
const anyStep = fc.record({ move: fc.constantFrom(...moves, 'enable' as const, 'disable' as const), after: fc.integer({ min: 0, max: 6 }) })

t.test('whatever is done in whatever order, the stage moves by what was done and by a clock that runs, and by nothing else', async () => {
  fc.assert(fc.property(anyStages, fc.array(anyStep, { maxLength: 12 }), (stages, steps) => {
    const { move, stage, state, look, enable } = rollout(stages)
    let now = 0
    let [isPaused, isDisabled] = [false, false]
    for (const step of steps) {
      const before = stage(now)
      now += step.after
      const here = stage(now)
      if (isPaused || isDisabled ? here !== before : here < before) throw new Error(`from ${before} to ${here} by itself`)
      let done = true
      try {
        if (step.move === 'enable' || step.move === 'disable') enable(step.move === 'enable', now)
        else move(step.move, now)
      } catch (error) {
        if ((error as { code?: string }).code !== 'FST_FLAGS_ROLLOUT_CONFLICT') throw error
        done = false
      }
      const after = stage(now)
      if (!done) {
        if (after !== here) throw new Error('a refused move moved')
        continue
      }
      const due = (stage: number) => Date.parse(stages[stage]?.at ?? at(1e6)) <= start + now * hour // an `at` that had to wait for the stage before
      if (step.move === 'advance' && (isDisabled || !(after === here + 1 || (after > here + 1 && !isPaused && due(after))))) throw new Error(`advanced from ${here} to ${after}`)
      if (step.move === 'rollback') {
        if (here > 0 ? after !== here - 1 : after !== here) throw new Error(`rolled back from ${here} to ${after}`)
        if (here > 0) isPaused = true
        else isDisabled = true
      }
      if (['pause', 'disable'].includes(step.move) && after !== here) throw new Error(`${step.move} moved from ${here} to ${after}`)
      if (['resume', 'enable'].includes(step.move) && after < here) throw new Error(`${step.move} moved back from ${here} to ${after}`)
      if (step.move === 'pause') isPaused = true
      if (step.move === 'resume') isPaused = false
      if (step.move === 'disable') isDisabled = true
      if (step.move === 'enable') isDisabled = false
      const { pausedAt, disabledAt } = state()
      if ((pausedAt !== undefined) !== isPaused || (disabledAt !== undefined) !== isDisabled) throw new Error('its state says otherwise')
      const { next } = look(now)
      if (next?.at != null && stage((Date.parse(next.at) - start) / hour) < next.stage) throw new Error('the next stage does not come when it is said to')
    }
  }), { numRuns: 500 })
})

t.test('where a rollout stands is told with its groups so far and when the next stage comes, or why it does not', async (t) => {
  const stages: Stage[] = [{ percentage: 0, groups: ['internal'], hours: 1 }, { percentage: 5, groups: ['beta', 'internal'] }, { percentage: 25, at: at(10) }, { percentage: 50 }, { percentage: 100 }]
  const { look, move, enable } = rollout(stages)
  t.same(look(0.5), { key: 'a', status: 'running', stage: 0, stages: 5, percentage: 0, groups: ['internal'], since: at(0), next: { stage: 1, percentage: 5, groups: ['internal', 'beta'], at: at(1) } })
  t.match(look(2), { stage: 1, since: at(1), groups: ['internal', 'beta'], next: { stage: 2, at: at(10) } })
  move('pause', 3)
  t.match(look(20), { status: 'paused', stage: 1, since: at(1), pausedAt: at(3), next: { stage: 2, at: null }, why: /paused: until a person resumes/ })
  enable(false, 21)
  t.match(look(22), { status: 'disabled', next: { at: null }, why: /disabled/ })
  enable(true, 23)
  move('resume', 24)
  t.match(look(24), { status: 'waiting', stage: 2, percentage: 25, since: at(24), next: { stage: 3, at: null }, why: /a person advances it/ })
  move('advance', 25)
  move('advance', 26)
  t.match(look(26), { status: 'complete', stage: 4, percentage: 100, next: null, why: 'this is the last stage' })
  t.same(rollout([{ percentage: 10, at: at(5) }]).look(1), { key: 'a', status: 'running', stage: -1, stages: 1, percentage: 0, groups: [], since: null, next: { stage: 0, percentage: 10, groups: [], at: at(5) } })
  const stateless: Flag = { enabled: true, serve: { stages: hourly } }
  t.match(rolloutOf('a', stateless, {}, start), { stage: 0, since: null, status: 'waiting' })
  t.match(moveRollout('a', stateless, 'advance', {}, start).serve, { state: { stage: 1, since: at(0) } })
})

t.test('a rollout climbs by itself, tells of each stage once, and stands where it is paused, disabled or edited', async (t) => {
  const { stream, lines } = logs()
  const app = Fastify({ logger: { stream } })
  t.teardown(() => app.close())
  await app.register(flags, { store: 'memory' })
  const { admin } = app.flags
  const begun: StageEvent[] = []
  app.flags.on('stage', (event) => { begun.push(event) })
  const told = (key: string) => begun.filter(({ flag }) => flag === key).map(({ stage }) => stage)
  const seconds = (seconds: number) => seconds / 3600
  const stages = [{ percentage: 0, hours: seconds(1) }, { percentage: 25, hours: seconds(0.3) }, { percentage: 50, hours: seconds(0.3) }, { percentage: 100 }]
  const ends = async (key: string) => await until(() => told(key).at(-1) === 3)

  await admin.put('alone', { enabled: true, serve: { stages } })
  await admin.put('by-environment', { environments: { production: { enabled: true, serve: 'off', rules: [{ name: 'all', when: { not: { attribute: 'x', operator: 'exists' } }, serve: { stages } }] } } })
  await ends('alone')
  t.equal(app.flags.for('u').isEnabled('alone'), true)
  t.same(told('alone'), [1, 2, 3])
  await ends('by-environment')
  t.equal(app.flags.for('u').isEnabled('by-environment'), true)
  t.match(begun.find(({ flag, stage }) => flag === 'by-environment' && stage === 2), { environment: 'production', rule: 'all', percentage: 50, at: Number })
  t.equal(lines().filter(({ msg }) => msg === 'fastify-flags: stage 3 of by-environment, production, rule all has begun: 100 %').length, 1)
  t.match(await admin.rollout('alone'), { status: 'complete', stage: 3, moved: { action: 'begin' } })

  await Promise.all(([['pause', 'resume'], ['disable', 'enable']] as const).map(async ([stop, goOn]) => {
    await admin.put(stop, { enabled: true, serve: { stages } })
    await admin[stop](stop)
    const { stage } = await admin.rollout(stop)
    await sleep(1200)
    await admin.patch(stop, { owner: 'edited' })
    t.equal((await admin.rollout(stop)).stage, stage, `stands while it is ${stop}d`)
    await admin[goOn](stop)
    await admin.patch(stop, { owner: 'edited again' })
    await ends(stop)
    t.same(told(stop), [1, 2, 3].slice(stage), 'each once and in order')
  }))
})

t.test('over HTTP a rollout is looked at and moved, and who moved it last is told', async (t) => {
  const { ask } = await startAdmin(t)
  await ask('PUT', '/flags/pay', { body: { enabled: true, serve: { stages: insidersFirst } } })
  t.match(await ask('GET', '/flags/pay/rollout', { token: viewer }), { status: 200, body: { key: 'pay', stage: 0, stages: 4, status: 'waiting', moved: { action: 'begin', version: 1, updatedBy: 'alice' }, version: 1 } })

  const advanced = await ask('POST', '/flags/pay/rollout/advance', { token: bob })
  t.match(advanced, { status: 200, headers: { etag: '"2"' }, body: { key: 'pay', version: 2, updatedBy: 'bob', serve: { state: { stage: 1 } } } })
  t.equal((await ask('POST', '/flags/pay/rollout/advance', { body: { from: 0 } })).status, 409)
  t.equal((await ask('POST', '/flags/pay/rollout/advance', { headers: { 'if-match': '"1"' } })).status, 412)
  t.equal((await ask('POST', '/flags/pay/rollout/advance', { body: { version: 1 } })).status, 412)
  t.match(await ask('POST', '/flags/pay/rollout/advance', { body: { from: 1, version: 2 } }), { status: 200, body: { version: 3 } })
  await ask('PATCH', '/flags/pay', { body: { description: 'no move' } })
  t.match((await ask('GET', '/flags/pay/rollout')).body, { stage: 2, groups: ['internal', 'beta'], moved: { action: 'advance', version: 3, updatedBy: 'alice' }, version: 4 })
  t.match(await ask('POST', '/flags/pay/rollout/rollback', { token: bob }), { status: 200 })
  t.match((await ask('GET', '/flags/pay/rollout')).body, { stage: 1, status: 'paused', pausedAt: String, moved: { action: 'rollback', updatedBy: 'bob' } })
  await ask('POST', '/flags/pay/rollout/resume')
  t.match((await ask('GET', '/flags/pay/rollout')).body, { stage: 1, status: 'waiting', moved: { action: 'resume' } })
  await ask('POST', '/flags/pay/rollout/pause')
  t.match((await ask('GET', '/flags/pay/rollout')).body.moved, { action: 'pause' })
  await ask('POST', '/flags/pay/disable')
  t.match((await ask('GET', '/flags/pay/rollout')).body, { status: 'disabled', moved: { action: 'disable' } })
  t.match(await ask('POST', '/flags/pay/rollout/advance'), { status: 409, body: { code: 'FST_FLAGS_ROLLOUT_CONFLICT', message: /enable it first/ } })
  await ask('POST', '/flags/pay/enable')
  t.match((await ask('GET', '/flags/pay/rollout')).body.moved, { action: 'enable' })

  for (const [action, body] of [['rollback', { from: 'one' }], ['pause', { form: 1 }], ['advance', { rule: true }], ['advance', { from: -2 }], ['resume', []]] as const) {
    t.match(await ask('POST', `/flags/pay/rollout/${action}`, { body }), { status: 400, body: { code: 'FST_FLAGS_INVALID_REQUEST' } })
  }
  t.equal((await ask('POST', '/flags/pay/rollout/advance', { token: viewer })).status, 403)
  t.equal((await ask('POST', '/flags/none/rollout/advance')).status, 404)
  t.equal((await ask('GET', '/flags/none/rollout')).status, 404)
  t.equal((await ask('GET', '/flags/pay/rollout?stage=1')).status, 400)
  t.equal((await ask('POST', '/flags/pay/rollout/jump')).status, 404)
})

t.test('environments and rules have rollouts of their own; what is not rolled out in stages says so', async (t) => {
  const { ask } = await startAdmin(t)
  const when = { attribute: 'plan', operator: 'eq', value: 'pro' }
  const rules = [{ name: 'pro', when, serve: { stages: hourly } }, { name: 'paid', when, serve: { stages: insidersFirst } }, { name: '1', when, serve: 'on' }]
  const settings = { enabled: true, serve: 'off', rules }
  await ask('PUT', '/flags/search', { body: { environments: { production: settings, staging: { enabled: true, serve: { stages: insidersFirst } } } } })
  t.match(await ask('POST', '/flags/search/rollout/advance'), { status: 409, body: { code: 'FST_FLAGS_WRONG_ENVIRONMENT', message: /production, staging/ } })
  t.match(await ask('POST', '/flags/search/environments/qa/rollout/advance'), { status: 409, body: { code: 'FST_FLAGS_WRONG_ENVIRONMENT' } })
  t.match(await ask('GET', '/flags/search/environments/production/rollout'), { status: 409, body: { code: 'FST_FLAGS_NO_ROLLOUT', message: /say which one with "rule", such as "pro"/ } })
  t.match(await ask('GET', '/flags/search/environments/production/rollout?rule=free'), { status: 409, body: { message: /no rule "free", but "pro", "paid", "1"/ } })
  t.match(await ask('GET', '/flags/search/environments/production/rollout?rule=1'), { status: 409, body: { message: /rule "1" is not rolled out in stages/ } })
  t.match(await ask('GET', '/flags/search/environments/production/rollout?rule=pro'), { status: 200, body: { environment: 'production', rule: 'pro', stages: 4, percentage: 5, moved: { action: 'begin' } } })

  t.match(await ask('POST', '/flags/search/environments/production/rollout/advance', { body: { rule: 'pro' } }), { status: 200, body: { environments: { production: { rules: [{ serve: { state: { stage: 1 } } }, { serve: { state: { stage: 0 } } }, {}] }, staging: { serve: { state: { stage: 0 } } } } } })
  t.match(await ask('POST', '/flags/search/environments/production/rollout/advance', { body: { rule: 1 } }), { status: 200, body: { environments: { production: { rules: [{ serve: { state: { stage: 1 } } }, { serve: { state: { stage: 1 } } }, {}] } } } })
  t.match((await ask('GET', '/flags/search/environments/production/rollout?rule=pro')).body.moved, { action: 'advance', version: 2 })
  t.match(await ask('POST', '/flags/search/environments/staging/rollout/rollback'), { status: 200, body: { environments: { production: { enabled: true }, staging: { enabled: false } } } })

  await ask('PUT', '/flags/plain', { body: { enabled: true } })
  t.match(await ask('POST', '/flags/plain/rollout/pause'), { status: 409, body: { code: 'FST_FLAGS_NO_ROLLOUT', message: /Flag plain is not rolled out in stages: give its serve some/ } })
  t.match(await ask('POST', '/flags/plain/environments/production/rollout/pause'), { status: 409, body: { code: 'FST_FLAGS_WRONG_ENVIRONMENT' } })
})

t.test('a version of the history is written anew, and says whose it is', async (t) => {
  const { ask } = await startAdmin(t)
  await ask('PUT', '/flags/a', { body: { enabled: true, description: 'one' } })
  await ask('PUT', '/flags/b', { body: { enabled: true } })
  await ask('PATCH', '/flags/a', { body: { description: 'two' } })
  await ask('POST', '/flags/a/disable')
  const revert = (version: unknown, headers: Record<string, string> = { 'if-match': '*' }) => ask('POST', '/flags/a/revert', { body: { version }, headers, token: bob })
  t.match(await revert(1, {}), { status: 428, body: { code: 'FST_FLAGS_VERSION_REQUIRED' } }, 'whoever reverts has seen what is there: a kill switch too')
  t.match(await revert(1, { 'if-match': '"3"' }), { status: 412 })
  t.match(await revert(1, { 'if-match': '"4"' }), { status: 200, headers: { etag: '"5"' }, body: { enabled: true, description: 'one', version: 5, updatedBy: 'bob' } })
  t.match(await revert(5), { status: 200, body: { version: 5 } }, 'what stands is left')
  t.match(await revert(2), { status: 404, body: { code: 'FST_FLAGS_VERSION_NOT_FOUND', message: 'Flag a has no version 2 to go back to; see its history' } }, 'that was another flag')
  t.match(await revert(99), { status: 404 })
  for (const wrong of [0, '1', null, undefined]) t.match(await revert(wrong), { status: 400 })

  await ask('DELETE', '/flags/a', { headers: { 'if-match': '*' } })
  t.match(await revert(5), { status: 412 }, '* is what is there')
  t.match(await revert(6, {}), { status: 404, body: { message: /that is where it was deleted/ } })
  const again = await revert(5, {})
  t.match(again, { status: 200, body: { description: 'one', version: 7 } }, 'what was deleted comes back')
  t.equal(again.body.createdAt, (await ask('GET', '/flags/a/history')).body.history.at(-1).flag.createdAt)
  t.equal((await ask('GET', '/flags/a/history')).body.history.length, 6)
})

t.test('a revert sets a rollout back to where it stood, unless nobody moved it since', async (t) => {
  const { admin } = await startAdmin(t)
  const stateOf = (flag: Flag) => (flag.serve as Draw).state as RolloutState
  await admin.put('a', { enabled: true, serve: { stages: insidersFirst } })
  await admin.advance('a')
  await admin.advance('a')
  await admin.put('a', { enabled: true, serve: { stages: hourly } })
  t.equal(stateOf(admin.get('a')).stage, 0, 'other stages begin anew')
  const back = await admin.revert('a', 3)
  t.equal(stateOf(back).stage, 2)
  t.equal(stateOf(await admin.revert('a', 2)).stage, 1, 'an advance is undone')

  const described = await admin.patch('a', { description: 'x' })
  t.same(stateOf(await admin.revert('a', described.version - 1)), stateOf(described))
  await admin.disable('a')
  t.match(await admin.revert('a', described.version), { enabled: true, serve: { state: { stage: 1, disabledAt: undefined } } })
})

t.test('what is no longer in the log is gone, and says where the log begins', async (t) => {
  const { MemoryStore, Memory } = await import('../src/store/memory.js')
  const { ask } = await startAdmin(t, { store: new MemoryStore(new Memory({ history: 2 })) })
  for (const description of ['1', '2', '3', '4']) await ask('PUT', '/flags/a', { body: { description }, headers: description === '1' ? {} : { 'if-match': '*' } })
  t.match(await ask('POST', '/flags/a/revert', { body: { version: 1 }, headers: { 'if-match': '*' } }), { status: 410, body: { code: 'FST_FLAGS_VERSION_GONE', message: /Version 1 of flag a is no longer in the log, which begins at 3/ } })
  t.match(await ask('POST', '/flags/a/revert', { body: { version: 3 }, headers: { 'if-match': '*' } }), { status: 200, body: { description: '3' } })
})
