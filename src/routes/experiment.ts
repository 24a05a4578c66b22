import type { FastifyRequest } from 'fastify'
import { errors } from '../errors.js'
import type { Counts } from '../experiments/counts.js'
import { isDay, type Range } from '../experiments/ledger.js'
import type { FastifyFlags } from '../facade.js'
import { experimentOf } from '../model/experiment.js'
import { readQuery } from './query.js'

/** What an experiment has counted, as it is answered. `since` is an ISO time; `lost` are events that this process had no room for. */
export interface ExperimentReport extends Range, Omit<Counts, 'since'> {
  key: string
  environment: string
  control: string
  since: string | null
  /** Of this process: events on their way, and those it had no room for. */
  process: { waiting: number, dropped: number }
}

/** Throws FLAG_NOT_FOUND, or EXPERIMENT_NOT_FOUND; rejects with the ledger's error when that cannot be read. */
export async function readExperiment ({ admin, experiments }: FastifyFlags, key: string, environment: string, range: Range): Promise<ExperimentReport> {
  const experiment = experimentOf(key, admin.get(key), environment)
  if (experiment === undefined) throw new errors.EXPERIMENT_NOT_FOUND(key, environment)
  const { since, ...counts } = await experiments.counts(experiment, range)
  const { waiting, dropped } = experiments
  return { key, environment, ...range, control: experiment.control, since: since === null ? null : new Date(since).toISOString(), ...counts, process: { waiting, dropped } }
}

/** `from` and `to` of a query: UTC days, both included. */
export function readRange (request: FastifyRequest): Range {
  const { from, to } = readQuery(request, ['from', 'to'])
  for (const [name, day] of Object.entries({ from, to })) {
    if (day !== undefined && !isDay(day)) throw new errors.INVALID_REQUEST(`${name} must be a day such as 2026-11-20, in UTC`)
  }
  if (from !== undefined && to !== undefined && from > to) throw new errors.INVALID_REQUEST('from must not be later than to')
  return { ...(from !== undefined && { from }), ...(to !== undefined && { to }) }
}
