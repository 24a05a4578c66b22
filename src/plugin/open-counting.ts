import { noteEnough, stopRollout } from '../admin/guarded.js'
import { Writer } from '../admin/writer.js'
import { Recorder } from '../experiments/recorder.js'
import type { Counting } from '../facade.js'
import { GuardWatch } from '../guards/watch.js'
import type { Settings } from '../options.js'
import type { Replica } from '../replica.js'
import { openLedger } from './open-ledger.js'

/** What counts for experiments and guarded rollouts, in one ledger. Closing it sends what is still to be counted. */
export async function openCounting (settings: Settings, replica: Replica): Promise<Counting & { close (): Promise<void> }> {
  const ledger = await openLedger(settings, replica.store)
  const now = () => replica.now()
  const recorder = new Recorder({ ledger, environment: settings.environment, now, report: (problem) => { replica.tell(problem) } })
  const writer = new Writer(replica)
  const guards = new GuardWatch({
    ledger,
    now,
    report: (problem) => { replica.tell(problem) },
    act: {
      async stop (rollout, stage, alarm) {
        const stopped = await stopRollout(writer, rollout, stage, alarm, now)
        const { flag, environment, rule } = rollout
        if (stopped) replica.tellStop({ flag, environment, rule, alarm })
        return stopped
      },
      enough: async (rollout, stage) => await noteEnough(writer, rollout, stage, now)
    }
  })
  return {
    recorder,
    guards,
    async close () {
      await Promise.all([guards.close(), recorder.close()]) // side by side: each may wait for a ledger that does not answer
      await ledger.close()
    }
  }
}
