import { errors } from '../errors.js'

/** The URL under which clients reach an app, in two parts; the path without a slash at its end. Throws INVALID_OPTION. */
export function splitUrl (publicUrl: string): { origin: string, path: string } {
  const url = typeof publicUrl === 'string' && URL.canParse(publicUrl) ? new URL(publicUrl) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '' || url.username !== '') throw new errors.INVALID_OPTION('evaluation.publicUrl must be the URL under which clients reach this app, such as "https://example.com/flags"')
  return { origin: url.origin, path: url.pathname.replace(/\/+$/, '') }
}
