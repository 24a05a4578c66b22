import type { FastifyBaseLogger, FastifyServerOptions } from 'fastify'

type Line = Parameters<FastifyBaseLogger['info']>

/**
 * The log of one request, made when its first line is written: nearly no request writes any, and to make one of pino's for each
 * would take longer than to evaluate a flag. Methods, for Fastify looks at each of them.
 */
class RequestLog {
  readonly #make: () => FastifyBaseLogger
  #made: FastifyBaseLogger | undefined

  constructor (readonly level: string, make: () => FastifyBaseLogger) {
    this.#make = make
  }

  get #log (): FastifyBaseLogger {
    return (this.#made ??= this.#make())
  }

  fatal (...line: Line) { this.#log.fatal(...line) }
  error (...line: Line) { this.#log.error(...line) }
  warn (...line: Line) { this.#log.warn(...line) }
  info (...line: Line) { this.#log.info(...line) }
  debug (...line: Line) { this.#log.debug(...line) }
  trace (...line: Line) { this.#log.trace(...line) }
  silent (): void {}
  child (...options: Parameters<FastifyBaseLogger['child']>) { return this.#log.child(...options) }
}

export const makeRequestLog: NonNullable<FastifyServerOptions['childLoggerFactory']> = (log, bindings, options) =>
  new RequestLog(log.level, () => log.child(bindings, options)) as unknown as FastifyBaseLogger // which is written for each of pino's ways to call it
