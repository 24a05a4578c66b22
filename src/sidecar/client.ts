import type { Admin, Changes, ChangesQuery, DocumentSet, FlagHistory, FlagPatch, HistoryRange, ImportReport, StoredFlag, StoredSegment } from '../admin.js'
import type { Move, RolloutPlace } from '../admin/rollouts.js'
import type { EvaluationContext } from '../model/context.js'
import type { Target } from './target.js'

/** What the commands need of the admin service, wherever it is: behind HTTP, or in this process over a store. */
export interface Client {
  /** A page of flags; `stale` is a duration such as `30d`. */
  list (filter: ListFilter): Promise<ReturnType<Admin['list']>>
  get (key: string): Promise<StoredFlag>
  patch (key: string, patch: FlagPatch): Promise<StoredFlag>
  switch (key: string, action: 'enable' | 'disable', environment: string | undefined): Promise<StoredFlag>
  rollout (key: string, place: RolloutPlace): Promise<Awaited<ReturnType<Admin['rollout']>>>
  move (key: string, move: Move, place: RolloutPlace): Promise<StoredFlag>
  explain (key: string, context: EvaluationContext, environment: string | undefined): Promise<ReturnType<Admin['explain']>>
  history (key: string, range: HistoryRange): Promise<FlagHistory>
  changes (query: ChangesQuery): Promise<Changes>
  delete (kind: 'flag' | 'segment', key: string): Promise<void>
  listSegments (page: { after?: string }): Promise<{ segments: StoredSegment[], next?: string }>
  /** The text of all flags and segments, in parts. */
  export (): AsyncIterable<string>
  import (documents: DocumentSet, dryRun: boolean): Promise<ImportReport>
  close (): Promise<void>
}

export interface ListFilter { tag?: string, owner?: string, q?: string, stale?: string, after?: string }

/** Rejects when it is not there, or has no flags to show. `warn` is told what an operator should know. */
export async function openClient (target: Target, warn: (text: string) => void): Promise<Client> {
  if (target.kind !== 'url') return await (await import('./direct-client.js')).openDirect(target, warn)
  return new (await import('./http-client.js')).HttpClient(target)
}

/** All flags that match, page by page. */
export async function * everyFlag (client: Client, filter: Omit<ListFilter, 'after'> = {}): AsyncGenerator<ReturnType<Admin['list']>['flags'][number]> {
  for (let after: string | undefined; ;) {
    const { flags, next } = await client.list({ ...filter, after })
    yield * flags
    if (next === undefined) return
    after = next
  }
}
