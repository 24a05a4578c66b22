import type { FastifyInstance, RouteOptions } from 'fastify'
import type { TSchema } from 'typebox'
import type { errors } from '../../errors.js'

/*
 * What the OpenAPI document says of a route: kept beside the routes, by `POST /flags/:key/enable`, and never part of their
 * schemas, so that describing a route changes nothing of how it reads and answers.
 */

/** A TypeBox schema or plain JSON Schema. One that equals a named schema of the document becomes a reference to it. */
export type Schema = TSchema | { readonly [keyword: string]: unknown }

/** Which tokens open a route; `none`: it is open to everybody. */
export type Access = 'none' | 'evaluation' | 'metrics' | 'read' | 'write'

export interface Parameter {
  description: string
  /** A text unless given. */
  schema?: Schema
  example?: unknown
}

export interface Answer {
  description: string
  /** Left out: the answer has no body. */
  schema?: Schema
  /** `application/json` unless given. */
  type?: string
  example?: unknown
  /** Name to description. */
  headers?: Record<string, string>
}

export interface Body {
  schema: Schema
  /** Name to a body. */
  examples: Record<string, unknown>
  /** Whether a request without any is refused; true unless given. */
  required?: boolean
  /** `application/json` unless given. */
  types?: string[]
}

export type ErrorName = keyof typeof errors

export interface Operation {
  /** A few words. */
  summary: string
  description?: string
  /** In place of the group's. */
  access?: Access
  /** Beside or in place of the group's, by name. Those of the path are known: `key`, `environment`. */
  params?: Record<string, Parameter>
  query?: Record<string, Parameter>
  headers?: Record<string, Parameter>
  body?: Body
  /** By status. */
  answers: Record<number, Answer>
  /** What it refuses with, beside what the group does and what follows from its access and its body. */
  errors?: ErrorName[]
}

/** The operations of a route group. */
export interface Operations {
  /** The heading the group stands under, and what is said there. */
  tag: { name: string, description: string }
  access: Access
  /** What any route of the group may refuse with. */
  errors?: ErrorName[]
  /** False when the group's errors have a shape of their own: then `answers` tells of each. */
  ourErrors?: boolean
  /** Schemas that get a name in the document. */
  schemas?: Record<string, Schema>
  /** By method and URL below the prefix, such as `GET /flags/:key`. */
  routes: Record<string, Operation>
}

/** A route, and what is said of it. */
export interface Described { group: Operations, operation: Operation }

const described = new WeakMap<RouteOptions, Described>()

/** To be called for each route of a scope; gives what a host's own OpenAPI should show of it. */
export function describeRoute (app: FastifyInstance, route: RouteOptions, group: Operations): { tags: string[], summary: string, description?: string } | undefined {
  const url = route.url.slice(app.prefix.length)
  const operation = [route.method].flat().map((method) => group.routes[`${method} ${url}`]).find((one) => one !== undefined)
  if (operation === undefined) return undefined
  described.set(route, { group, operation })
  return { tags: [group.tag.name], summary: operation.summary, description: operation.description }
}

/** What was said of a route that an `onRoute` hook was given. */
export function descriptionOf (route: RouteOptions): Described | undefined {
  return described.get(route)
}
