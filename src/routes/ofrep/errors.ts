import type { FastifyReply, FastifyRequest } from 'fastify'
import type { FlagsError } from '../../errors.js'

/** Our errors as OFREP's codes; what stands here is the caller's to mend. Anything else is GENERAL. */
const errorCodes: Readonly<Record<string, string>> = {
  FST_FLAGS_INVALID_JSON: 'PARSE_ERROR',
  FST_FLAGS_UNSUPPORTED_MEDIA_TYPE: 'PARSE_ERROR',
  FST_FLAGS_INVALID_CONTEXT: 'INVALID_CONTEXT',
  FST_FLAGS_FLAG_NOT_FOUND: 'FLAG_NOT_FOUND',
  FST_FLAGS_NOT_READY: 'PROVIDER_NOT_READY'
}

/**
 * An error as OFREP's clients read it. They take 400, 404 and 500 with an `errorCode`, and with the flag's `key` where one flag was asked
 * for; 401, 403 and 429 by their status; anything else they call an unexpected response: 503 is for what stands between, 405 for people.
 */
export function presentError ({ statusCode, code, message }: FlagsError, request: FastifyRequest, reply: FastifyReply): { statusCode: number, body: object } {
  if (statusCode === 503 && !reply.hasHeader('retry-after')) reply.header('retry-after', 1)
  return {
    statusCode: statusOf(statusCode),
    body: { key: keyOf(request), errorCode: errorCodes[code] ?? 'GENERAL', errorDetails: message.length > 1000 ? `${message.slice(0, 1000)}…` : message }
  }
}

function statusOf (statusCode: number): number {
  if (statusCode === 422) return 500 // the flag is at fault, not who asks
  if (statusCode >= 500) return statusCode === 503 ? 503 : 500
  return [401, 403, 404, 405, 429].includes(statusCode) ? statusCode : 400
}

function keyOf ({ params, routeOptions }: FastifyRequest): string | undefined {
  const { key, '*': rest } = (params ?? {}) as { key?: string, '*'?: string }
  return key ?? (routeOptions.url?.endsWith('/flags/*') === true ? rest : undefined)
}
