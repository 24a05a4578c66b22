import type { FastifyRequest } from 'fastify'
import { errors } from '../errors.js'
import { isDay, type Range } from '../experiments/ledger.js'
import { resultsOf, usualEffect, type Results } from '../experiments/results.js'
import { FastifyFlags } from '../facade.js'
import { experimentOf } from '../model/experiment.js'
import { readQuery } from './query.js'

/** What an experiment has counted, and what that says. */
export interface ExperimentReport extends Range, Results {
  key: string
  environment: string
  /** Of this process: events on their way, and those it had no room for. */
  process: { waiting: number, dropped: number }
}

/** Throws FLAG_NOT_FOUND, or EXPERIMENT_NOT_FOUND; rejects with the ledger's error when that cannot be read. */
export async function readExperiment (flags: FastifyFlags, key: string, environment: string, { range, effect }: ExperimentQuery): Promise<ExperimentReport> {
  const experiment = experimentOf(key, flags.admin.get(key), environment)
  if (experiment === undefined) throw new errors.EXPERIMENT_NOT_FOUND(key, environment)
  const { recorder } = FastifyFlags.countingOf(flags)
  const results = resultsOf(await recorder.read(experiment, range), experiment.control, effect)
  const { waiting, dropped } = recorder
  return { key, environment, ...range, ...results, process: { waiting, dropped } }
}

export interface ExperimentQuery { range: Range, effect: number }

/** `from` and `to`, UTC days, both included; and `effect`, the lift that one wants to be able to find. */
export function readExperimentQuery (request: FastifyRequest): ExperimentQuery {
  const { from, to, effect = String(usualEffect) } = readQuery(request, ['from', 'to', 'effect'])
  for (const [name, day] of Object.entries({ from, to })) {
    if (day !== undefined && !isDay(day)) throw new errors.INVALID_REQUEST(`${name} must be a day such as 2026-11-20, in UTC`)
  }
  if (from !== undefined && to !== undefined && from > to) throw new errors.INVALID_REQUEST('from must not be later than to')
  const lift = /^-?\d*\.?\d+$/.test(effect) ? Number(effect) : NaN
  if (!(lift > -1 && lift <= 100) || lift === 0) throw new errors.INVALID_REQUEST('effect must be the lift to be found as a number, such as 0.05 for 5 % more or -0.05 for 5 % less than the control')
  return { range: { ...(from !== undefined && { from }), ...(to !== undefined && { to }) }, effect: lift }
}
