import Type from 'typebox'

/**
 * A moment, as RFC 3339 writes it. The format refuses days and times that do not exist; the pattern refuses what the
 * format allows and `Date.parse` cannot read: leap seconds, lower-case letters, a zone's name in brackets.
 */
export const DateTime = (what: string) => Type.String({
  format: 'date-time',
  pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:[0-5]\\d(?:\\.\\d+)?(?:Z|[+-]\\d{2}:\\d{2})$',
  description: `a date and time with its zone, such as "2027-01-31T08:00:00Z": ${what}`
})
