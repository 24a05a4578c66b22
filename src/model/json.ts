/** Any JSON value. */
export type JsonValue = boolean | string | number | null | JsonValue[] | { [key: string]: JsonValue }

/** A value's JSON type, arrays apart from objects. */
export type JsonType = 'boolean' | 'string' | 'number' | 'null' | 'array' | 'object'

export function jsonTypeOf (value: unknown): JsonType | undefined {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  const type = typeof value
  return type === 'boolean' || type === 'string' || type === 'number' || type === 'object' ? type : undefined
}
