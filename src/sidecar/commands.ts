import type { Move } from '../admin/rollouts.js'
import { serveOptions, settingsOf } from './settings.js'
import type { Given, Option } from './options.js'
import { targetOptions } from './target.js'
import type { Terminal } from './terminal.js'

/** What a command was called with. */
export interface Call {
  words: readonly string[]
  given: Map<string, Given>
  terminal: Terminal
}

export interface Command {
  /** The words it takes; in square brackets those that may be left out. */
  readonly words: readonly string[]
  /** What it does: a line for the list of commands, and what else there is to know. */
  readonly summary: string
  readonly about?: string
  readonly examples?: readonly string[]
  readonly options: Readonly<Record<string, Option>>
  run (call: Call): Promise<void>
}

const json: Option = { env: [], help: 'for scripts: one JSON document on stdout, errors as JSON on stderr' }
const environment = (help: string): Option => ({ value: 'NAME', env: [], help })
const yes: Option = { env: [], help: 'that this is meant' }
const newEnvironment: Option = { env: [], help: 'that a new environment is meant, though its name is nearly that of another' }
const rolloutOptions = {
  environment: environment('in this environment; needed where the flag has environments'),
  rule: { value: 'RULE', env: [], help: 'the rollout of this rule, by its name or number from 0, not the flag\'s own' },
  json,
  ...targetOptions
} satisfies Record<string, Option>
const moving = (move: Move, summary: string): Command => ({
  words: ['KEY'],
  summary,
  options: rolloutOptions,
  run: async (call) => { await (await import('./commands/rollout.js')).move(call, move) }
})
const limit: Option = { value: 'NUMBER', env: [], help: 'how many, 1 to 1000 (default 20)' }

/** Every command, in the groups of the help. What each does is imported when it is called. */
export const groups: ReadonlyArray<{ title: string, commands: Readonly<Record<string, Command>> }> = [
  {
    title: 'Serve',
    commands: {
      serve: {
        words: [],
        summary: 'answer flags over HTTP until it is told to end',
        options: serveOptions,
        run: async ({ given, terminal }) => {
          const settings = settingsOf(given, terminal.env) // before all of Fastify is loaded, which what is wrong need not wait for
          await (await import('./serve.js')).serve(settings, (text) => { terminal.err(text + '\n') })
        }
      }
    }
  },
  {
    title: 'Look',
    commands: {
      list: {
        words: [],
        summary: 'all flags and what they serve',
        examples: ['fastify-flags list --tag checkout', 'fastify-flags list --stale 30d --json'],
        options: {
          tag: { value: 'TAG', env: [], help: 'only those with this tag' },
          owner: { value: 'OWNER', env: [], help: 'only those of this owner' },
          q: { value: 'TEXT', env: [], help: 'only those with this text in key, description, owner or a tag' },
          stale: { value: 'TIME', env: [], help: 'only those past their expiresAt, or fully on or off for so long: 12h, 30d, 2w' },
          json,
          ...targetOptions
        },
        run: async (call) => { await (await import('./commands/look.js')).list(call) }
      },
      get: {
        words: ['KEY'],
        summary: 'one flag as it is stored, as JSON',
        options: { json, ...targetOptions },
        run: async (call) => { await (await import('./commands/look.js')).get(call) }
      },
      explain: {
        words: ['KEY'],
        summary: 'what somebody gets, and every step that led there',
        examples: ['fastify-flags explain new_search --user alice --group employees --attribute plan=pro'],
        options: {
          user: { value: 'NAME', env: [], help: 'the targeting key' },
          group: { value: 'NAME', many: true, env: [], help: 'a group; may stand more than once' },
          region: { value: 'NAME', env: [], help: 'the region' },
          attribute: { value: 'NAME=VALUE', many: true, env: [], help: 'anything else that is known; may stand more than once, and a name that does is a list' },
          environment: { value: 'NAME', env: ['FLAGS_ENVIRONMENT'], help: 'in which environment (default: the one that the server answers for, else production)' },
          json,
          ...targetOptions
        },
        run: async (call) => { await (await import('./commands/explain.js')).explain(call) }
      },
      history: {
        words: ['[KEY]'],
        summary: 'who changed a flag, or all of them, and when; the newest first',
        options: { limit, json, ...targetOptions },
        run: async (call) => { await (await import('./commands/look.js')).history(call) }
      }
    }
  },
  {
    title: 'Change',
    commands: {
      enable: {
        words: ['KEY'],
        summary: 'switch a flag on',
        options: { environment: environment('in this environment only, which is created if the flag has others'), yes: newEnvironment, json, ...targetOptions },
        run: async (call) => { await (await import('./commands/change.js')).enable(call) }
      },
      disable: {
        words: ['KEY'],
        summary: 'switch a flag off: everybody gets its off variant',
        options: { environment: environment('in this environment only, which is created if the flag has others'), yes: newEnvironment, json, ...targetOptions },
        run: async (call) => { await (await import('./commands/change.js')).disable(call) }
      },
      set: {
        words: ['KEY', 'VALUE'],
        summary: 'what is served to whom no target or rule names: 25%, on, off, or a variant',
        about: 'VALUE is a percentage with its sign, or the name of a variant; a flag without variants of its own has on and off. ' +
          'Targets and rules stay as they are, and so does whether the flag is enabled.',
        examples: ['fastify-flags set dark_mode 25%', 'fastify-flags set checkout on --environment staging'],
        options: { environment: environment('in this environment; needed where the flag has environments'), yes: newEnvironment, json, ...targetOptions },
        run: async (call) => { await (await import('./commands/change.js')).set(call) }
      }
    }
  },
  {
    title: 'Roll out in stages',
    commands: {
      rollout: {
        words: ['KEY'],
        summary: 'where it stands, and when the next stage comes',
        options: rolloutOptions,
        run: async (call) => { await (await import('./commands/rollout.js')).rollout(call) }
      },
      advance: moving('advance', 'to the next stage'),
      rollback: moving('rollback', 'to the stage before, where it stays paused; from the first one, off'),
      pause: moving('pause', 'stop its clock'),
      resume: moving('resume', 'let its clock go on')
    }
  },
  {
    title: 'Carry',
    commands: {
      export: {
        words: [],
        summary: 'all flags and segments, as JSON that import takes',
        examples: ['fastify-flags export --redis redis://localhost:6379 > flags.json'],
        options: targetOptions,
        run: async (call) => { await (await import('./commands/transfer.js')).exportAll(call) }
      },
      import: {
        words: ['FILE'],
        summary: 'write the flags and segments of a file; "-" is what comes in',
        about: 'Nothing is written when anything in the file is not valid. Flags that are not in the file stay as they are.',
        examples: ['fastify-flags import flags.json --dry-run', 'fastify-flags export --url http://staging:8080 | fastify-flags import - --url http://127.0.0.1:8080'],
        options: { 'dry-run': { env: [], help: 'only tell what would be written' }, json, ...targetOptions },
        run: async (call) => { await (await import('./commands/transfer.js')).importAll(call) }
      },
      types: {
        words: [],
        summary: 'TypeScript that declares the flags and the types of their values',
        examples: ['fastify-flags types > src/flags.d.ts'],
        options: targetOptions,
        run: async (call) => { await (await import('./commands/types.js')).types(call) }
      },
      reset: {
        words: [],
        summary: 'remove all flags and segments, for good',
        about: 'For every process that serves them. In a Redis the history goes too, no process puts anything back, and versions go on where they stood; ' +
          'elsewhere each removal stands in the history.',
        options: { yes, json, ...targetOptions },
        run: async (call) => { await (await import('./commands/reset.js')).reset(call) }
      }
    }
  }
]

export const commands: ReadonlyMap<string, Command> = new Map(groups.flatMap(({ commands }) => Object.entries(commands)))
