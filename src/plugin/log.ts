import type { FastifyBaseLogger } from 'fastify'
import { doubtOfEnvironment } from '../evaluation/environments.js'
import { tellAlarm } from '../model/guard.js'
import type { Settings } from '../options.js'
import type { Replica } from '../replica.js'
import { describeTrust } from './trust.js'

/** Says at the start what flags come from and whose identity headers count, and then what becomes of the replica; each thing once. */
export function keepLog (log: FastifyBaseLogger, replica: Replica, settings: Settings): void {
  const { environment, namespace, store } = settings
  const kept = store.kind === 'own' ? 'a store of the app' : store.kind
  log.info({ environment, namespace, store: kept }, `fastify-flags: serving environment ${environment} from ${kept}; ${describeIdentity(settings)}`)
  if (store.kind === 'memory' && !store.given) {
    log.warn('fastify-flags: flags are kept in memory and end with this process; give redis or store to keep them, or store: "memory" if that is meant')
  }
  if (settings.context === undefined && settings.trust === 'all') {
    log.warn('fastify-flags: with trust "all" every client can say who it is')
  }

  replica.on('problem', ({ code, message, cause }) => {
    log.warn({ code, err: cause, status: replica.status }, `fastify-flags: ${message}`)
  })
  replica.on('stale', () => {
    log.warn({ lastSyncedAt: replica.lastSyncedAt }, 'fastify-flags: the store has not answered for a while; serving what was last known')
  })
  replica.on('ready', () => {
    log.info({ revision: replica.revision }, 'fastify-flags: in sync with the store')
  })
  replica.on('stage', ({ stage, percentage, ...place }) => {
    log.info({ ...place, stage, percentage }, `fastify-flags: stage ${stage} of ${placeText(place)} has begun: ${percentage} %`)
  })
  replica.on('guard', ({ alarm, ...place }) => {
    log.warn({ ...place, alarm }, `fastify-flags: the guard of ${placeText(place)} has stopped its rollout: ${tellAlarm(alarm)}`)
  })
  replica.once('ready', () => {
    const doubt = doubtOfEnvironment(replica.snapshot, environment)
    if (doubt !== undefined) log.warn({ environment }, `fastify-flags: ${doubt}`)
  })
}

function placeText ({ flag, environment, rule }: { flag: string, environment: string | undefined, rule: string | undefined }): string {
  return [flag, environment, rule === undefined ? undefined : `rule ${rule}`].filter((part) => part !== undefined).join(', ')
}

/** To be called when the start waits no longer. */
export function logLateStart (log: FastifyBaseLogger, { status, lastSyncedAt }: Replica, { bootstrap }: Settings): void {
  if (status === 'READY') return
  const left = lastSyncedAt === null ? undefined : `the flags of the snapshot file, as of ${new Date(lastSyncedAt).toISOString()}`
  log.warn({ status }, `fastify-flags: the store has not answered yet; starting with ${left ?? (bootstrap === undefined ? 'the defaults that callers give' : 'the bootstrap flags')}, and trying on`)
}

function describeIdentity ({ context, headers, trust }: Settings): string {
  if (context !== undefined) return 'the option context says who asks'
  return `identity headers (${Object.values(headers).join(', ')}) count ${describeTrust(trust)}`
}
